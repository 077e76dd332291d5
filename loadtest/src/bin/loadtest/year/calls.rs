//! What people do in the story: buy, pay, refund, import; each answer is compared with what it had to be.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::diary::{CUSTOMER, Diary};
use super::purse::{Channel, Paid};
use loadtest::http::Role;

const MERCHANT: &str = "mrc_konbini";

/// A purchase that may be cancelled or refunded later.
pub struct Sale {
    pub id: String,
    pub order: String,
}

impl Diary {
    pub fn office(&self, call: &str, body: &Value) -> Result<(u16, Value)> {
        self.site.send(Role::Office, "POST", &format!("/v1/customers/{CUSTOMER}/{call}"), body)
    }

    fn authorize(&self, more: &Value) -> Result<(String, (u16, Value))> {
        let order = format!("Y-{}", self.entries.len());
        let mut body =
            json!({"order_id": order, "merchant": {"id": MERCHANT, "store_id": "S001"}, "deadline_ms": 30_000});
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        Ok((order, self.site.send(Role::Register, "POST", "/v1/authorizations", &body)?))
    }

    /// A purchase that must be approved, on the statement of `month` that is due on `due`.
    fn approved(&mut self, what: &str, answer: &(u16, Value), amount: u64, month: &str, due: &str) -> Result<String> {
        let members = json!({"decision": "approved", "status": "captured", "amount": amount, "points": amount / 200,
            "response_code": "00", "reason": null, "statement": {"month": month, "due": due}});
        self.says(what, answer, 200, members);
        let id = answer.1["authorization_id"].as_str();
        Ok(id.with_context(|| format!("{what}: {}", answer.1))?.to_owned())
    }

    /// Shows a code at a till; the phone follows it.
    pub fn buys_in_store(&mut self, amount: u64, month: &str, due: &str) -> Result<Sale> {
        let what = format!("buys in a shop by code, {month} due {due}");
        let code = self.shows_a_code()?;
        let (order, answer) = self.authorize(&json!({"code": code["barcode"], "amount": amount}))?;
        let id = self.approved(&what, &answer, amount, month, due)?;
        self.purse.buys(Channel::InStore, amount);
        let room = self.purse.figures();
        let mirror = self.mirror(&code)?;
        let spendable = json!({"in_store": room.in_store, "online": room.online});
        let members = json!({"status": "used", "decision": "approved", "attempts": 1, "spendable": spendable});
        self.says("the phone", &mirror, 200, members);
        self.is("the phone's sale", &mirror.1["sale"]["authorization_id"], json!(id));
        self.tell(what, amount.cast_signed())?;
        Ok(Sale { id, order })
    }

    fn shows_a_code(&mut self) -> Result<Value> {
        let shown = self.site.send(Role::Wallet, "POST", "/v1/codes", &json!({ "customer_id": CUSTOMER }))?;
        let room = self.purse.figures();
        let spendable = json!({"in_store": room.in_store, "online": room.online});
        self.says("a code", &shown, 201, json!({ "spendable": spendable }));
        Ok(shown.1)
    }

    fn mirror(&self, code: &Value) -> Result<(u16, Value)> {
        self.site.get(Role::Wallet, &format!("/v1/codes/{}", code["code_id"].as_str().unwrap_or_default()))
    }

    /// Too much for the room in store: the clerk hears no, the phone hears why, and the code lives on until it is put
    /// away.
    pub fn tries_in_store(&mut self, amount: u64) -> Result<()> {
        let code = self.shows_a_code()?;
        let (_, answer) = self.authorize(&json!({"code": code["barcode"], "amount": amount}))?;
        let members = json!({"decision": "denied", "status": "denied", "reason": "over_in_store_limit",
            "response_code": "51", "statement": null, "points": 0});
        self.says("too much", &answer, 200, members);
        let mirror = self.mirror(&code)?;
        self.says("the phone", &mirror, 200, json!({"status": "live", "decision": "denied", "attempts": 1}));
        self.is("the phone's reason", &mirror.1["last_attempt"]["reason"], json!("over_in_store_limit"));
        let path = format!("/v1/codes/{}", code["code_id"].as_str().unwrap_or_default());
        let put_away = self.site.delete(Role::Wallet, &path)?;
        self.says("put away", &put_away, 200, json!({"status": "voided"}));
        self.tell(format!("is denied {amount} in a shop, over the limit there; the phone says why"), 0)
    }

    pub fn buys_online(&mut self, amount: u64, month: &str, due: &str) -> Result<Sale> {
        self.buys_remote(Channel::Online, "online", &format!("buys online, {month} due {due}"), amount, month, due)
    }

    pub fn buys_by_np(&mut self, amount: u64, month: &'static str, due: &str) -> Result<Sale> {
        self.np_months.push(month);
        let what = format!("buys by NP Atobarai, an invoice of its own due {due}");
        self.buys_remote(Channel::Np, "np_atobarai", &what, amount, month, due)
    }

    fn buys_remote(
        &mut self,
        channel: Channel,
        name: &str,
        what: &str,
        amount: u64,
        month: &str,
        due: &str,
    ) -> Result<Sale> {
        let (order, answer) = self.authorize(&json!({"customer_id": CUSTOMER, "channel": name, "amount": amount}))?;
        let id = self.approved(what, &answer, amount, month, due)?;
        self.purse.buys(channel, amount);
        self.tell(what, amount.cast_signed())?;
        Ok(Sale { id, order })
    }

    /// No code is shown and nothing is sold, on any channel.
    pub fn is_blocked(&mut self, what: &str) -> Result<()> {
        let refused = self.site.send(Role::Wallet, "POST", "/v1/codes", &json!({ "customer_id": CUSTOMER }))?;
        self.says("a code while overdue", &refused, 403, json!({"reason": "overdue"}));
        for channel in ["online", "np_atobarai"] {
            let order = json!({"order_id": format!("B-{}-{channel}", self.entries.len()), "customer_id": CUSTOMER,
                "channel": channel, "amount": 100, "merchant": {"id": MERCHANT}, "deadline_ms": 30_000});
            let denied = self.site.send(Role::Register, "POST", "/v1/authorizations", &order)?;
            self.says(channel, &denied, 200, json!({"decision": "denied", "reason": "overdue"}));
        }
        self.stands(json!("overdue"))?;
        self.tell(what, 0)
    }

    /// What is in the way of a code.
    pub fn stands(&mut self, blocked_by: Value) -> Result<()> {
        let standing = self.standing()?;
        self.is("blocked_by", &standing["blocked_by"], blocked_by);
        Ok(())
    }

    /// The register cancels by its own order id; a second cancel changes nothing.
    pub fn cancels(&mut self, sale: &Sale, amount: u64) -> Result<()> {
        let cancel = json!({"merchant_id": MERCHANT, "order_id": sale.order});
        for replayed in [false, true] {
            let answer = self.site.send(Role::Register, "POST", "/v1/cancellations", &cancel)?;
            let members = json!({"action": "reversed", "authorization_id": sale.id, "replayed": replayed});
            self.says("cancel", &answer, 200, members);
        }
        self.purse.cancels(Channel::InStore, amount);
        self.tell("the shop cancels the sale, ten minutes into the next month", -amount.cast_signed())
    }

    /// The shop gives money back; the answer says where it went. The purse has been told.
    pub fn refund(&mut self, sale: &Sale, amount: u64, outcome: &str, to: &str, restored: u64) -> Result<()> {
        let path = format!("/v1/authorizations/{}/refunds", sale.id);
        let body = json!({"refund_id": format!("F-{}", self.entries.len()), "amount": amount});
        for replayed in [false, true] {
            let answer = self.site.send(Role::Register, "POST", &path, &body)?;
            let members = json!({"outcome": outcome, "applied": [{"to": to, "amount": amount}],
                "spendable_restored": restored, "replayed": replayed});
            self.says("refund", &answer, 200, members);
        }
        self.tell(format!("a shop refunds: {outcome}, to {to}"), -amount.cast_signed())
    }

    /// Money that settles one bill, with these members in the answer's only part.
    pub fn pays(&mut self, what: &str, body: &Value, bill: &Value, paid: Paid, credit: u64) -> Result<()> {
        self.purse.pays(paid, credit);
        for replayed in [false, true] {
            let answer = self.office("repayments", body)?;
            let applied = json!({"credit": credit, "applied": [bill], "replayed": replayed});
            self.says(what, &answer, 200, applied);
        }
        self.tell(what, -(paid.total() + credit).cast_signed())
    }

    /// One line of a file from the bank or the convenience stores; the file is read twice.
    pub fn imports(&mut self, what: &str, line: &str) -> Result<()> {
        let file = format!("id,type,customer_id,amount,paid_at,expires_at\n{line}\n");
        for (posted, replayed) in [(1, 0), (0, 1)] {
            let answer = self.site.import(&file)?;
            let members = json!({"lines": 1, "posted": posted, "replayed": replayed, "errors": []});
            self.says(what, &answer, 200, members);
        }
        Ok(())
    }

    /// A debit is handed to the bank on the day of the draw, and comes the next day.
    pub fn is_debited(&mut self, id: &str, draw: &str, heard: &str, month: &str, paid: Paid) -> Result<()> {
        let amount = paid.total();
        self.at(&format!("{draw}T06:00"))?;
        let submitted = format!("{id},pending,{CUSTOMER},{amount},,{heard}T23:00:00+09:00");
        self.imports("a debit on its way", &submitted)?;
        self.tell(format!("the debit for {month} is handed to the bank"), 0)?;
        self.at(&format!("{heard}T09:00"))?;
        self.stands(Value::Null)?;
        self.purse.pays(paid, 0);
        self.imports("a debit that came", &format!("{id},debit_paid,{CUSTOMER},{amount},,"))?;
        let (_, statement) = self.statement(month)?;
        self.is("the debited bill", &statement["status"], json!("paid"));
        self.tell(format!("the bank has drawn {month}"), -amount.cast_signed())
    }

    /// The bill as it is read now.
    pub fn reads(&mut self, what: &str, month: &str, members: Value) -> Result<()> {
        let bill = self.statement(month)?;
        self.says(&format!("the bill of {month}"), &bill, 200, members);
        self.tell(what, 0)
    }

    /// A rung of the ladder was reached; the next one needs so many bills on time, purchases and months.
    pub fn climbed(&mut self, rung: u64, took: &str, next: Option<[u64; 3]>) -> Result<()> {
        self.purse.rung = rung;
        let standing = self.standing()?;
        let needs = next.map(|[bills, purchases, months]| {
            json!({"on_time_bills": bills, "purchases": purchases, "months_active": months})
        });
        self.is("what the next rung needs", &standing["next_rung"]["needs"], json!(needs));
        self.tell(format!("a rung up: it took {took}"), 0)
    }
}
