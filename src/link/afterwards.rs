//! What is asked of an order after its decision, or told of one that the network decided, put to the engine: reversals,
//! refunds, captures, advices.

use std::sync::Arc;

use crate::code::Scan;
use crate::domain::commands::refusal::Refusal;
use crate::domain::commands::reply::Reply;
use crate::domain::commands::request::OnOrder;
use crate::domain::model::request::Payer;
use crate::http::Edge;
use crate::http::calls::scans;
use crate::http::past::ask_on_order;
use crate::http::problem::Problem;
use crate::iso8583::translate::Wrong;

use super::verdict::Verdict;

/// One message's wish.
pub(crate) struct After {
    pub doing: OnOrder,
    /// The code that came with what is to be charged.
    pub scan: Option<Scan>,
    /// What is named as the original can be the name of one that is still to come.
    pub may_still_come: bool,
}

impl After {
    pub async fn carry_out(self, edge: &Edge) -> Verdict {
        self.carry_out_known(edge).await.unwrap_or_else(|problem| Verdict::of_problem(&problem))
    }

    async fn carry_out_known(mut self, edge: &Edge) -> Result<Verdict, Problem> {
        // An advice may come long after its code was shown.
        if let Some(old @ Scan::Old(_)) = self.scan {
            self.settle(scans::settle(edge, old).await?);
        }
        // A refund alone may be refused because nothing has the name.
        let may_be_unknown = matches!(self.doing, OnOrder::Refund(_)) && self.may_still_come;
        Ok(told(&ask_on_order(edge, self.doing).await?.reply, may_be_unknown))
    }

    fn settle(&mut self, scan: Scan) {
        let (told, sealed) = (Payer::Code(scan.into()), scan.sealed_by());
        match &mut self.doing {
            OnOrder::CaptureAdvice(capture) => (capture.payer, capture.sealed_by) = (told, sealed),
            OnOrder::StandIn(advice) => {
                Arc::make_mut(&mut advice.input).payer = told;
                advice.sealed_by = sealed;
            }
            _ => {}
        }
    }
}

/// Whatever it comes to is in the books, to a customer or in suspense; the network is told 00.
fn told(reply: &Reply, may_be_unknown: bool) -> Verdict {
    match reply {
        Reply::Done
        // It was reversed before it came, or is the network's word for what was decided here.
        | Reply::Decision { .. } => Verdict::DONE,
        Reply::Advised { order, .. } => Verdict::done_to(order.id.approval_code()),
        Reply::Captured { order, .. } | Reply::Refunded { order, .. } => Verdict::done_to(order.id.approval_code()),
        Reply::Refused(Refusal::AuthorizationUnknown) if !may_be_unknown => {
            Verdict::wrong(Wrong { code: *b"30", element: 90 })
        }
        Reply::Refused(Refusal::NotARefund) => Verdict::wrong(Wrong { code: *b"30", element: 3 }),
        other => Verdict::of_other(other),
    }
}
