//! `POST /v1/imports`: a file of what banks and convenience stores report. Every line has an id of its own and is posted
//! once, whatever file it comes in: a file read twice, or one that overlaps another by half, changes nothing. Bad
//! lines are named with their reason, good ones are posted.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::afterwards::refund_by;
use super::answer::Answer;
use super::flow::{Asked, ask};
use super::office::instruct;
use super::problem::{MALFORMED, PAYMENT_FINAL, PAYMENT_UNKNOWN, Problem};
use crate::domain::event::{Cause, Event};
use crate::domain::ids::{AuthorizationId, CustomerId, OfficeId, RefundId};
use crate::domain::jst::Millis;
use crate::domain::money::Yen;
use crate::domain::request::{Instruction, Refund, Request};
use crate::domain::rule::Reply;
use crate::hex;

/// Largest amount of one line, yen.
const MOST: u64 = 9_999_999;

/// One line. `type` says which of the others it needs.
#[derive(Deserialize)]
struct Row<'a> {
    id: &'a str,
    r#type: &'a str,
    #[serde(default)]
    customer_id: &'a str,
    #[serde(default)]
    amount: &'a str,
    #[serde(default)]
    paid_at: &'a str,
    #[serde(default)]
    expires_at: &'a str,
    #[serde(default)]
    authorization_id: &'a str,
}

const COLUMNS: [&str; 7] = ["id", "type", "customer_id", "amount", "paid_at", "expires_at", "authorization_id"];

/// What a line tells.
enum Told {
    Office(CustomerId, Instruction),
    /// Final news: of a payment that was provisional, or of one we had not heard of.
    Final(CustomerId, OfficeId, Option<(Yen, Option<Millis>)>),
    Refund(Refund),
}

#[derive(Serialize)]
struct LineError {
    /// Of the file, from 1; the header is line 1.
    line: u64,
    id: String,
    reason: &'static str,
    detail: String,
}

#[derive(Default, Serialize)]
struct ImportShown {
    digest: String,
    lines: u64,
    posted: u64,
    /// Known already: nothing changed.
    replayed: u64,
    failed: u64,
    errors: Vec<LineError>,
}

pub(super) async fn import(asked: &Asked<'_>) -> Result<Answer, Problem> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(asked.body);
    let headers = reader.headers().map_err(|error| Problem::new(&MALFORMED, error.to_string()))?.clone();
    if let Some(unknown) = headers.iter().find(|name| !COLUMNS.contains(name)) {
        let detail = format!("The column `{unknown}` is not known; known are {}.", COLUMNS.join(", "));
        return Err(Problem::new(&MALFORMED, detail));
    }
    let column = |wanted: &str| headers.iter().position(|name| name == wanted);
    let (Some(id_column), Some(_)) = (column("id"), column("type")) else {
        return Err(Problem::new(&MALFORMED, "The first line must name the columns, `id` and `type` among them."));
    };
    let digest: [u8; 32] = Sha256::digest(asked.body).into();
    let digest = format!("sha256:{}", hex::encode(&digest).as_str());
    let mut shown = ImportShown { digest, ..ImportShown::default() };
    for record in reader.records() {
        shown.lines += 1;
        let (line, id, outcome) = match &record {
            Ok(record) => {
                let line = record.position().map_or(shown.lines + 1, csv::Position::line);
                let id = record.get(id_column).unwrap_or_default().chars().take(64).collect();
                let told = record.deserialize(Some(&headers)).map_err(|error| bad(error.to_string())).and_then(read);
                (
                    line,
                    id,
                    match told {
                        Ok(told) => post(asked, told).await,
                        Err(problem) => Err(problem),
                    },
                )
            }
            Err(error) => (shown.lines + 1, String::new(), Err(bad(error.to_string()))),
        };
        match outcome {
            Ok(true) => shown.replayed += 1,
            Ok(false) => shown.posted += 1,
            // Nothing of the rest was read; the caller sends the file again and loses nothing.
            Err(problem) if problem.status() == 503 => return Err(problem),
            Err(problem) => {
                shown.failed += 1;
                let (reason, detail) = (problem.reason(), problem.detail().to_owned());
                shown.errors.push(LineError { line, id, reason, detail });
            }
        }
    }
    Answer::ok(&shown)
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(&MALFORMED, detail)
}

fn field(name: &str, wanted: &str) -> Problem {
    Problem::field(&format!("/{name}"), wanted)
}

fn read(row: Row<'_>) -> Result<Told, Problem> {
    let id = || OfficeId::new(row.id).map_err(|bad| field("id", &bad.to_string()));
    let customer = || CustomerId::new(row.customer_id).map_err(|bad| field("customer_id", &bad.to_string()));
    let amount = || {
        let amount = row.amount.parse().ok().filter(|yen| (1..=MOST).contains(yen));
        amount.map(Yen::new).ok_or_else(|| field("amount", "must be a whole number from 1 to 9999999"))
    };
    let time = |name: &str, text: &str| match text {
        "" => Ok(None),
        text => Millis::parse(text).map(Some).ok_or_else(|| field(name, "must be a time as in RFC 3339")),
    };
    let paid_at = time("paid_at", row.paid_at)?;
    Ok(match row.r#type {
        "repayment" => {
            Told::Office(customer()?, Instruction::Repay { id: id()?, amount: amount()?, paid_at, slip: None })
        }
        "pending" => {
            let expires_at = time("expires_at", row.expires_at)?;
            let expires_at = expires_at.ok_or_else(|| field("expires_at", "is needed for `pending`"))?;
            Told::Office(customer()?, Instruction::Expect { id: id()?, amount: amount()?, paid_at, expires_at })
        }
        "final" | "debit_paid" => {
            let money = if row.amount.is_empty() { None } else { Some((amount()?, paid_at)) };
            Told::Final(customer()?, id()?, money)
        }
        "withdrawn" | "debit_failed" => Told::Office(customer()?, Instruction::Withdraw { id: id()? }),
        "refund" => {
            let authorization = AuthorizationId::parse(row.authorization_id);
            let authorization = authorization.ok_or_else(|| field("authorization_id", "is no authorization id"))?;
            let refund_id = RefundId::new(row.id).map_err(|bad| field("id", &bad.to_string()))?;
            Told::Refund(Refund::new(authorization, refund_id, amount()?))
        }
        _ => {
            let known =
                "must be one of `repayment`, `pending`, `final`, `withdrawn`, `debit_paid`, `debit_failed`, `refund`";
            return Err(field("type", known));
        }
    })
}

/// Whether it was known already.
async fn post(asked: &Asked<'_>, told: Told) -> Result<bool, Problem> {
    match told {
        Told::Office(customer, instruction) => {
            let is_pending = matches!(instruction, Instruction::Expect { .. });
            match instruct(asked, customer, instruction).await {
                // The money came before its provisional news, which says nothing any more.
                Err(problem) if is_pending && problem.reason() == PAYMENT_FINAL.reason => Ok(true),
                outcome => Ok(outcome?.replayed),
            }
        }
        Told::Final(customer, id, money) => came(asked, customer, id, money).await,
        Told::Refund(refund) => refund_by(asked, refund).await,
    }
}

/// Final news. Money that says another amount than its provisional news is posted by nobody: somebody must look.
async fn came(
    asked: &Asked<'_>,
    customer: CustomerId,
    id: OfficeId,
    money: Option<(Yen, Option<Millis>)>,
) -> Result<bool, Problem> {
    let answered = ask(asked.edge, Request::FindCustomer(customer), None).await?;
    if let (Some((amount, _)), Reply::Customer { account, .. }) = (money, answered.reply) {
        let news = account.notes().and_then(|notes| notes.pending.iter().find(|pending| pending.id == id));
        same_amount(amount, news.map(|pending| pending.amount))?;
    }
    match (instruct(asked, customer, Instruction::Confirm { id }).await, money) {
        (Err(problem), Some((amount, paid_at))) if problem.reason() == PAYMENT_UNKNOWN.reason => {
            let repay = Instruction::Repay { id, amount, paid_at, slip: None };
            Ok(instruct(asked, customer, repay).await?.replayed)
        }
        (Ok(booked), Some((amount, _))) => {
            if let Event::Settled { cause: Cause::Final(payment), .. } = booked.receipt.event.as_ref() {
                same_amount(amount, Some(payment.amount))?;
            }
            Ok(booked.replayed)
        }
        (outcome, _) => Ok(outcome?.replayed),
    }
}

fn same_amount(told: Yen, known: Option<Yen>) -> Result<(), Problem> {
    match known {
        Some(known) if known != told => {
            let wanted =
                format!("must be the {known} yen of the provisional news; if that was wrong, withdraw it first");
            Err(field("amount", &wanted))
        }
        _ => Ok(()),
    }
}
