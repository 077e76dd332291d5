//! What the office tells in a random history.

use super::history::History;
use super::request::Request;
use crate::domain::billing::account::Account;
use crate::domain::model::correction::{Correction, Fee};
use crate::domain::model::ids::{CustomerId, OfficeId};
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{BillKey, SlipKind};
use crate::domain::model::request::{Instruction, Said, Staff};
use crate::domain::model::time::{DAY, Now};
use crate::domain::state::receipts::{Known, ReceiptKind};

impl History {
    /// The bank sends the latest payout back, which it may have done before.
    fn bounce(&self) -> Option<Request> {
        let mut keys = self.events.iter().rev().filter_map(|(.., event)| event.receipt_key());
        let payout = keys.find(|key| key.kind == ReceiptKind::Payout)?;
        let staff = Staff { by: "tanaka".into(), key: "office".into(), reason: "口座なし".into() };
        let instruction = Instruction::Bounce { payout: payout.id, staff };
        let customer = self.state.account(payout.customer)?.id;
        Some(Request::Instruct { customer, instruction, ledger: Some(Known::nothing()) })
    }

    /// Staff corrects something that the books have, or had.
    fn correct(&mut self) -> Option<Request> {
        let kind = self.pick(&[ReceiptKind::Repayment, ReceiptKind::Damages, ReceiptKind::WriteOff]);
        let told = self.events.iter().rev().filter_map(|(.., event)| event.receipt_key());
        let told: Vec<_> = told.filter(|key| key.kind == kind).take(9).collect();
        let number = self.below(9);
        let id = OfficeId::new(&format!("correction-{}-{number}", self.now.0 / DAY)).unwrap();
        let amount = self.one_in(2).then(|| Yen::new(1 + self.below(500)));
        let (ix, correction) = if self.one_in(2) {
            let about = *told.get(usize::try_from(number).unwrap())?;
            let correction = match kind {
                ReceiptKind::Repayment => {
                    let reversal = self.one_in(2).then(|| Box::new(id));
                    Correction::ReverseRepayment { reversal, repayment: about.id, amount }
                }
                ReceiptKind::Damages => Correction::ReverseDamages { posting: about.id },
                _ => Correction::ReleaseWriteOff { id: about.id },
            };
            (about.customer, correction)
        } else {
            let customer = self.customer();
            let ix = self.state.customer_ix(&customer)?;
            let bill = self.some_bill(&customer);
            let late_fees = self.state.account(ix)?.listed_bill(bill).map_or(&[][..], |bill| &bill.late_fees);
            let fee = Fee { bill, late: late_fees.first().map(|late| late.date) };
            let open = BillKey::Month(Now::at(self.now).month);
            let correction = match number {
                0..4 => Correction::WaiveFee { id: fee.waiver_of(customer)?, fee },
                4..6 => Correction::WriteOff { id, bill },
                _ => Correction::ApplyCredit { id, amount: amount?, bill: open },
            };
            (ix, correction)
        };
        let customer = self.state.account(ix)?.id;
        let staff = Staff { by: "tanaka".into(), key: "office".into(), reason: "誤り".into() };
        let instruction = Instruction::Correct { correction, staff };
        Some(Request::Instruct { customer, instruction, ledger: Some(Known::nothing()) })
    }

    /// A month's bill, or one of the customer's invoices.
    fn some_bill(&mut self, customer: &CustomerId) -> BillKey {
        let account = self.state.customer_ix(customer).and_then(|ix| self.state.account(ix));
        let keys = account.into_iter().flat_map(Account::listed_bills).map(|bill| bill.key);
        let invoices: Vec<BillKey> = keys.filter(|key| key.month().is_none()).collect();
        if invoices.is_empty() || self.one_in(2) {
            return BillKey::Month(Now::at(self.now.plus(-40 * DAY)).month);
        }
        self.pick(&invoices)
    }

    /// The office, with ids that come again and money that fits or does not.
    pub(super) fn instruct(&mut self) -> Option<Request> {
        let customer = self.customer();
        // Past the retention the front end asks the ledger before an id comes here again.
        let number = self.below(12);
        let day = self.now.0 / DAY;
        // Now and then an id that another customer may have.
        let whose = if number == 0 { "anybody" } else { customer.as_str() };
        let id = OfficeId::new(&format!("office-{day}-{whose}-{}", number % 3)).unwrap();
        let amount = Yen::new(if self.one_in(3) { 209 } else { 1 + self.below(9_000) });
        let days_ago = i64::try_from(self.below(120)).unwrap() * DAY;
        let paid_at = (!self.one_in(3)).then(|| self.now.plus(-days_ago));
        let bill = self.some_bill(&customer);
        let slip = self.one_in(4).then_some(123_456_789_012);
        let staff = Staff { by: "suzuki".into(), key: "office".into(), reason: "依頼".into() };
        let staff = slip.map(|_| Box::new(staff));
        let instruction = match self.below(21) {
            16 => return self.bounce(),
            17.. => return self.correct(),
            0..6 => Instruction::Repay { id, amount, paid_at, slip },
            6..8 => Instruction::Expect { id, amount, paid_at, expires_at: self.now.plus(days_ago + 1) },
            8 => Instruction::Confirm { id, said: Said { amount: slip.map(|_| amount), paid_at, ..Said::default() } },
            9 => Instruction::Withdraw { id, said: Said::default(), staff },
            10..12 => Instruction::PostDamages { id, bill, amount: Yen::new(1 + self.below(9)), staff },
            12 => Instruction::PayOut { id, amount: Yen::new(1 + self.below(300)), bank_reference: None, staff },
            13 if number.is_multiple_of(2) => Instruction::Freeze { id },
            14 if number.is_multiple_of(2) => {
                let staff = Staff { by: "tanaka".into(), key: "office".into(), reason: "見つかった".into() };
                Instruction::Unfreeze { id, staff }
            }
            13 => Instruction::Block { id, reason: Box::from("電話番号"), by: None, key: None },
            14 => Instruction::Release { id, staff },
            _ => Instruction::IssueSlip { kind: self.pick(&SlipKind::ALL) },
        };
        self.state.customer_ix(&customer).map(|_| Request::Instruct {
            customer,
            instruction,
            ledger: Some(Known::nothing()),
        })
    }
}
