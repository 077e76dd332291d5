//! What is asked of an order after its decision, or said of one that the network decided, put to the engine: reversals,
//! refunds, captures, advices.

use std::sync::Arc;

use crate::code::{InvalidWhy, Scan};
use crate::domain::commands::refusal::Refusal;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::OnOrder;
use crate::domain::model::ids::{MerchantId, RefundId};
use crate::domain::model::request::{
    Advice, CaptureAdvice, Named, OrderKey, Payer, Post, Refund, Reverse, ReverseRefund,
};
use crate::engine::client::{Client, NoAnswer};
use crate::iso8583::translate::{AsksOnOrder, Presented, Request, Wrong};

use super::acquirers::Acquirer;
use super::response::Response;
use super::sale::{input, scan};

/// One message, ready to be put to the engine.
pub(crate) struct OrderMessage {
    doing: OnOrder,
    /// The code that came with what is to be charged.
    scan: Option<Scan>,
    /// What is named as the original can be the name of one that is still to come.
    may_still_come: bool,
}

impl OrderMessage {
    pub fn read(
        client: &Client,
        request: &Request<'_>,
        asked: &AsksOnOrder<'_>,
        acquirer: &Acquirer,
        merchant: MerchantId,
    ) -> Result<Self, Response> {
        let key = |order_id| OrderKey { merchant, order_id };
        let own = key(request.order_id);
        let refund_id = RefundId::from(request.order_id);
        let read = |code: Option<Presented<'_>>| code.and_then(|code| Some(scan(client, &code).ok()?.0));
        let post = acquirer.stand_in.map_or(Post::WithinLimits, Post::UpTo);
        let terminal = request.terminal;
        let may_still_come = request.may_still_come;
        let must_be_known = !may_still_come;
        let (doing, scan) = match asked {
            AsksOnOrder::Refund { .. } if !acquirer.may_refund => return Err(Response::not_permitted(3)),
            AsksOnOrder::Refund { original, .. } if *original == request.order_id => return Err(Response::id_reused()),
            AsksOnOrder::Refund { original, amount } => {
                let sale = Named::Key(key(*original));
                let refund = Refund { sale, refund_id, amount: *amount, customer: None, paid_at: None };
                (OnOrder::Refund(refund), None)
            }
            AsksOnOrder::Reversal { original, of, kept } => {
                let reverse = Reverse { original: key(*original), of: *of, kept: *kept, refund_id, must_be_known };
                (OnOrder::Reverse(reverse), None)
            }
            AsksOnOrder::RefundReversal { original, amount } => {
                let reverse = ReverseRefund { refund: key(*original), amount: *amount, terminal, must_be_known };
                (OnOrder::ReverseRefund(reverse), None)
            }
            AsksOnOrder::Capture { original, amount, code } => {
                let scan = read(*code).unwrap_or(Scan::Invalid(InvalidWhy::Empty));
                let capture = CaptureAdvice {
                    original: key(*original),
                    own,
                    terminal,
                    amount: *amount,
                    payer: Payer::Code(scan.into()),
                    sealed_by: scan.sealed_by(),
                    post,
                    must_be_known,
                };
                (OnOrder::CaptureAdvice(capture), Some(scan))
            }
            AsksOnOrder::StandIn { sale, original } => {
                let (input, scan) = input(client, request, sale, merchant)?;
                let advice = Advice {
                    input: Arc::new(input),
                    original: original.map(key),
                    post,
                    sealed_by: scan.sealed_by(),
                    must_be_known: must_be_known && original.is_some(),
                };
                (OnOrder::StandIn(advice), Some(scan))
            }
        };
        Ok(Self { doing, scan, may_still_come })
    }

    pub async fn carry_out(self, client: &Client) -> Response {
        self.ask(client).await.unwrap_or_else(Response::from)
    }

    async fn ask(mut self, client: &Client) -> Result<Response, NoAnswer> {
        // An advice may come long after its code was shown.
        if let Some(old @ Scan::Undated(_)) = self.scan {
            let settled = client.settle_scan(old).await?;
            let payer = Payer::Code(settled.into());
            match &mut self.doing {
                OnOrder::CaptureAdvice(capture) => {
                    capture.payer = payer;
                    capture.sealed_by = settled.sealed_by();
                }
                OnOrder::StandIn(advice) => {
                    Arc::make_mut(&mut advice.input).payer = payer;
                    advice.sealed_by = settled.sealed_by();
                }
                _ => {}
            }
        }
        // A refund alone may be refused because nothing has the name.
        let may_be_unknown = matches!(self.doing, OnOrder::Refund(_)) && self.may_still_come;
        Ok(response(&client.ask_on_order(self.doing).await?.reply, may_be_unknown))
    }
}

/// Whatever it comes to is in the books, to a customer or in suspense; the network is answered 00.
fn response(reply: &Reply, may_be_unknown: bool) -> Response {
    match reply {
        Reply::Done
        // It was reversed before it came, or is the network's word for what was decided here.
        | Reply::Decision { .. } => Response::DONE,
        Reply::Advised { order, .. } => Response::done_to(order.id.approval_code()),
        Reply::Captured { order, .. } | Reply::Refunded { order, .. } => Response::done_to(order.id.approval_code()),
        Reply::Refused(Refusal::AuthorizationUnknown) if !may_be_unknown => {
            Response::wrong(Wrong { code: *b"30", element: 90 })
        }
        Reply::Refused(Refusal::NotARefund) => Response::wrong(Wrong { code: *b"30", element: 3 }),
        other => Response::of_other(other),
    }
}
