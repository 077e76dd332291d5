//! What must come out equal at the end of the year, to the yen.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

use super::diary::{CUSTOMER, Diary};
use super::site::Booked;

#[derive(Serialize)]
pub struct Sum {
    pub name: &'static str,
    pub left: u64,
    pub right: u64,
}

impl Sum {
    pub const fn agrees(&self) -> bool {
        self.left == self.right
    }
}

fn figure(bill: &Value, member: &str) -> u64 {
    bill[member].as_u64().unwrap_or(0)
}

/// Each month's bill by the API is the one in the ledger, in every line.
fn bill_by_bill(diary: &mut Diary, bills: &[Value], booked: &[Booked]) {
    if bills.len() != booked.len() {
        diary.differs(|at| format!("{at}: {} statements, {} in the ledger", bills.len(), booked.len()));
    }
    // The API lists the newest first.
    for (bill, row) in bills.iter().rev().zip(booked) {
        let what = |line: &str| format!("the ledger's {line} of {}", row.month);
        let [principal, bill_fee, late_fees, damages, paid, points] = row.figures;
        let lines = [("principal", principal), ("bill_fee", bill_fee), ("late_fees", late_fees), ("paid", paid)];
        for (line, booked) in lines.into_iter().chain([("points", points)]) {
            diary.is(&what(line), &json!(booked), bill[line].clone());
        }
        let owed = principal + bill_fee + late_fees + damages - paid;
        diary.is(&what("total_due"), &json!(owed), bill["total_due"].clone());
        diary.is(&what("month"), &json!(row.month), bill["month"].clone());
        // Method and due date are fixed when the bill is issued.
        if bill["status"] != "open" {
            diary.is(&what("due date"), &json!(row.due), bill["due"].clone());
            diary.is(&what("method"), &json!(row.payment_method), bill["payment_method"].clone());
        }
    }
}

pub fn compare(diary: &mut Diary) -> Result<Vec<Sum>> {
    let bills = diary.statements()?;
    let booked = diary.site.booked(CUSTOMER)?;
    bill_by_bill(diary, &bills, &booked);
    let of_bills = |member: &str| bills.iter().map(|bill| figure(bill, member)).sum::<u64>();
    let standing = diary.standing()?;
    let (np_bought, np_owed) = (diary.np("amount")?, diary.np("total_due")?);
    let entries = diary.site.sum(CUSTOMER, "exposure")?;
    let purse = &diary.purse;
    let fees_booked = booked.iter().map(|row| row.figures[1] + row.figures[2] + row.figures[3]).sum();
    Ok(vec![
        Sum {
            name: "purchases - cancels - refunds = principal of all statements and NP purchases",
            left: purse.bought - purse.cancelled - purse.refunded,
            right: of_bills("principal") + np_bought,
        },
        Sum {
            name: "money paid in = money on the bills' lines + credit + paid out",
            left: purse.paid_in,
            right: of_bills("paid") + (np_bought - np_owed) + figure(&standing, "credit") + purse.paid_out,
        },
        Sum {
            name: "bill fees, late fees and damages of the story = those of the ledger's statements",
            left: purse.fees,
            right: fees_booked,
        },
        Sum {
            name: "exposure by the API = the ledger's entries",
            left: figure(&standing["exposure"], "total"),
            right: u64::try_from(entries).unwrap_or(u64::MAX),
        },
        Sum {
            name: "principal of the story = money that paid principal + exposure",
            left: purse.bought - purse.cancelled - purse.refunded,
            right: purse.paid_in - purse.fees - purse.credit - purse.paid_out + figure(&standing["exposure"], "total"),
        },
        Sum { name: "points of the story = points of all statements", left: purse.points, right: of_bills("points") },
    ])
}
