//! Payment slips: what a customer takes to a convenience store or the post office.

use serde::{Deserialize, Serialize};

use super::office::instruct;
use crate::domain::billing::notes::Note;
use crate::domain::model::money::Yen;
use crate::domain::model::payment::{Lines, SlipKind};
use crate::domain::model::request::Instruction;
use crate::domain::model::time::Millis;
use crate::domain::state::event::Event;
use crate::http::answer::Answer;
use crate::http::asked::Asked;
use crate::http::fields;
use crate::http::fields::Text;
use crate::http::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlipBody {
    kind: Text<SlipKind>,
}

#[derive(Serialize)]
struct SlipShown {
    slip: SlipKind,
    number: String,
    /// The GS1-128 text of `app_barcode`, application identifier 91.
    #[serde(skip_serializing_if = "Option::is_none")]
    barcode: Option<String>,
    amount: Yen,
    lines: Lines,
    expires_at: Millis,
}

/// `POST /v1/customers/{customer_id}/payment-slips`
pub(crate) async fn issue(asked: &Asked) -> Result<Answer, Problem> {
    let body: SlipBody = fields::read(&asked.body)?;
    let booked = instruct(asked, asked.customer()?, Instruction::IssueSlip { kind: body.kind.0 }).await?;
    let Event::Noted { note: Note::SlipIssued(slip), .. } = booked.receipt.event.as_ref() else {
        return Err(Problem::internal());
    };
    Answer::ok(&SlipShown {
        slip: slip.kind,
        number: slip.number.to_string(),
        barcode: (slip.kind == SlipKind::AppBarcode)
            .then(|| slip_barcode(slip.number, slip.lines.total(), slip.expires_at)),
        amount: slip.lines.total(),
        lines: slip.lines,
        expires_at: slip.expires_at,
    })
}

/// 44 digits, as convenience stores read them: 91, the biller (a placeholder until the issuer has one), our number in
/// 21, reissue 0, the last day as YYMMDD, stamp duty 1 from 50,000 yen, the amount in 6, and a modulus-10 check digit
/// with weights 3 and 1 from the right.
pub(super) fn slip_barcode(number: u64, amount: Yen, expires_at: Millis) -> String {
    /// 9 and five digits that a collecting agency assigns.
    const BILLER: &str = "900000";
    let day = expires_at.date().to_number() % 1_000_000;
    let stamp = u8::from(amount.get() >= 50_000);
    let body = format!("91{BILLER}{number:021}0{day:06}{stamp}{:06}", amount.get());
    let weighted = body.bytes().rev().enumerate().map(|(at, digit)| {
        let weight = if at.is_multiple_of(2) { 3 } else { 1 };
        weight * u32::from(digit - b'0')
    });
    let check = (10 - weighted.sum::<u32>() % 10) % 10;
    format!("{body}{check}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_has_44_digits_and_its_check_digit_holds() {
        let expires_at = Millis::parse("2026-12-09T23:59:59.999+09:00").unwrap();
        let text = slip_barcode(123_456_789_012, Yen::new(30_209), expires_at);
        assert_eq!(text.len(), 44);
        assert!(text.starts_with("91900000") && text.contains("123456789012") && text.contains("2612090030209"));
        let sum: u32 = text.bytes().rev().enumerate().map(|(at, d)| [1, 3][at % 2] * u32::from(d - b'0')).sum();
        assert!(sum.is_multiple_of(10));
    }
}
