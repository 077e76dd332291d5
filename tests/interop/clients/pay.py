"""The README's first payment by a client that openapi-python-client made.

    pay.py ADDRESS

Each answer must come as the class that the schema names: where a type got lost, it would be another one.
"""

import datetime
import inspect
import sys
import typing

from sokketsu_client import AuthenticatedClient, models
from sokketsu_client.api.codes import issue_code
from sokketsu_client.api.customers import put_customer
from sokketsu_client.api.purchases import authorize, cancel, find_authorization, refund
from sokketsu_client.types import UNSET


def expect(seen, wanted, what):
    if seen != wanted:
        sys.exit(f"FAILED: {what}: {seen!r} and not {wanted!r}")


def client(role):
    return AuthenticatedClient(base_url=sys.argv[1], token=f"sandbox-{role}")


wallet, register, office = client("wallet"), client("register"), client("office")

# The purchase is a class, and what may be left out can be.
hints = typing.get_type_hints(authorize.sync, vars(authorize))
expect(hints["body"], models.Purchase, "the body's type")
optional = {name for name, at in inspect.signature(models.Purchase).parameters.items() if at.default is not at.empty}
expect(optional, {"code", "customer_id", "channel", "currency", "capture", "entry_mode", "requested_at", "deadline_ms",
                  "confirm_repeat", "items"}, "what of a purchase may be left out")

change = models.CustomerChange(identity=models.Identity.VERIFIED, birth_date=datetime.date(1990, 4, 1), limits=None)
standing = put_customer.sync("py-1", client=office, body=change)
expect((type(standing), standing.blocked_by, standing.minor), (models.Standing, None, False), "a customer who may pay")
standing = put_customer.sync("py-1", client=office, body=models.CustomerChange(birth_date=None, guardian_consent=True))
expect((standing.birth_date, standing.minor, standing.identity), (None, True, models.Identity.VERIFIED), "a minor")

code = issue_code.sync(client=wallet, body=models.IssueCode(customer_id="py-1"))
expect(type(code), models.Code, "a code")
lines = [models.PurchaseItem(name="米", quantity=1.5, unit_price=1100), models.PurchaseItem(unit_price=-150)]
purchase = models.Purchase(
    order_id="PY-1", code=code.barcode, channel=models.Channel.IN_STORE, amount=1500,
    merchant=models.PurchaseMerchant(id="mrc_konbini"), items=lines)
expect("capture" in purchase.to_dict(), False, "what is left out is not sent")
paid = authorize.sync(client=register, body=purchase)
expect((type(paid), paid.decision, paid.status, paid.reason, paid.first),
       (models.Decision, models.DecisionKind.APPROVED, models.AuthorizationStatus.CAPTURED, None, UNSET), "approved")

purchase.amount = 1501
reused = authorize.sync(client=register, body=purchase)
expect((type(reused), reused.authorization_id), (models.ProblemOrderIdReused, paid.authorization_id), "another amount")
purchase.order_id, purchase.customer_id = "PY-2", "py-1"
wrong = authorize.sync(client=register, body=purchase)
expect((type(wrong), wrong.errors[0].pointer), (models.ProblemInvalidField, "/customer_id"), "a code and a customer")
over = refund.sync(paid.authorization_id, client=register, body=models.Refund(refund_id="PY-F1", amount=1501))
expect((type(over), over.refundable_left), (models.ProblemOverRefundable, 1500), "more than was paid")

undone = cancel.sync(client=register, body=models.Cancellation(merchant_id="mrc_konbini", order_id="PY-1"))
expect((type(undone), undone.action.value), (models.Cancelled, "reversed"), "cancelled")
looked = find_authorization.sync(client=register, merchant_id="mrc_konbini", order_id="PY-1")
expect((type(looked), looked.status), (models.StoredDecision, models.AuthorizationStatus.CANCELLED), "looked up")
print("openapi-python-client: paid, refused, cancelled and looked up")
