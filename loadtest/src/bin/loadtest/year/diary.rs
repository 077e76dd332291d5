//! The customer's days: the clock is set from step to step, every answer is compared with what was expected, and at the
//! end of each day the service, its ledger and the purse must agree.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::civil::{Date, DateTime};
use serde::Serialize;
use serde_json::{Value, json};

use super::purse::{Figures, Purse};
use super::site::Site;
use loadtest::http::Role;
use loadtest::setup::pause;

pub const CUSTOMER: &str = "hanako";
/// The last moment of a day.
const LAST: &str = "23:59:59.999";
/// The ledger is some 0.5 s behind, and so may be the papers of a new day.
const CATCH_UP: Duration = Duration::from_secs(10);
/// The differences that are told; the others are counted.
const TOLD: usize = 50;

/// One line of the story.
#[derive(Serialize)]
pub struct Entry {
    pub at: String,
    pub what: String,
    /// Yen, less than nothing where it goes back; 0 where none moves.
    pub amount: i64,
    #[serde(flatten)]
    pub figures: Figures,
}

pub struct Diary {
    pub site: Site,
    pub purse: Purse,
    pub entries: Vec<Entry>,
    /// Days whose end was audited.
    pub days: u32,
    pub differences: Vec<String>,
    /// Bill fee of the customer's method, yen.
    pub bill_fee: u64,
    /// Months with an NP Atobarai purchase, whose bills stand apart.
    pub np_months: Vec<&'static str>,
    pub now: DateTime,
    label: String,
}

impl Diary {
    pub fn new(site: Site, born: &str) -> Result<Self> {
        let now: DateTime = born.parse().context("a time")?;
        Ok(Self {
            site,
            purse: Purse::default(),
            entries: Vec::new(),
            days: 0,
            differences: Vec::new(),
            bill_fee: 209,
            np_months: Vec::new(),
            now,
            label: born.to_owned(),
        })
    }

    pub fn differs(&mut self, text: impl FnOnce(&str) -> String) {
        if self.differences.len() < TOLD {
            let text = text(&self.label);
            self.differences.push(text);
        }
    }

    /// What was seen must be what was expected.
    #[expect(clippy::needless_pass_by_value, reason = "expected values are written where they are compared")]
    pub fn is(&mut self, what: &str, seen: &Value, expected: Value) {
        if *seen != expected {
            self.differs(|at| format!("{at} {what}: {seen}, should be {expected}"));
        }
    }

    /// These members of an answer; others may be there.
    #[expect(clippy::needless_pass_by_value, reason = "expected values are written where they are compared")]
    pub fn says(&mut self, what: &str, (status, body): &(u16, Value), wanted: u16, members: Value) {
        if *status != wanted {
            self.differs(|at| format!("{at} {what}: {status} {body}, should be {wanted}"));
            return;
        }
        for (name, expected) in members.as_object().into_iter().flatten() {
            self.is(&format!("{what}: {name}"), body.get(name).unwrap_or(&Value::Null), expected.clone());
        }
    }

    /// Lives on until this time in Japan, the end of each day on the way audited.
    pub fn at(&mut self, time: &str) -> Result<()> {
        let next: DateTime = time.parse().with_context(|| format!("a time: {time}"))?;
        while self.now.date() < next.date() {
            self.end_of_day()?;
            let tomorrow = self.now.date().tomorrow()?;
            if tomorrow.month() != self.now.date().month() {
                self.purse.month_ends(self.bill_fee);
            }
            self.now = tomorrow.into();
        }
        self.site.set_clock(time)?;
        self.now = next;
        self.label = time.to_owned();
        Ok(())
    }

    pub fn end_of_day(&mut self) -> Result<()> {
        let today: Date = self.now.date();
        self.label = format!("{today}T{LAST}");
        self.site.set_clock(&self.label)?;
        self.audit()?;
        self.days += 1;
        Ok(())
    }

    /// Something happened: it is written down with what is to be seen afterwards, which is looked at.
    pub fn tell(&mut self, what: impl Into<String>, amount: i64) -> Result<()> {
        let at = self.now.strftime("%Y-%m-%d %H:%M").to_string();
        self.entries.push(Entry { at, what: what.into(), amount, figures: self.purse.figures() });
        self.audit()
    }

    pub fn standing(&self) -> Result<Value> {
        Ok(self.site.get(Role::Wallet, &format!("/v1/customers/{CUSTOMER}"))?.1)
    }

    pub fn statement(&self, month: &str) -> Result<(u16, Value)> {
        self.site.get(Role::Wallet, &format!("/v1/customers/{CUSTOMER}/statements/{month}"))
    }

    pub fn statements(&self) -> Result<Vec<Value>> {
        let (_, list) = self.site.get(Role::Wallet, &format!("/v1/customers/{CUSTOMER}/statements"))?;
        Ok(list["statements"].as_array().cloned().unwrap_or_default())
    }

    /// What the NP Atobarai purchases of the year say of one member, in sum.
    pub fn np(&self, member: &str) -> Result<u64> {
        let mut sum = 0;
        for month in &self.np_months {
            let (_, statement) = self.statement(month)?;
            let bills = statement["np_purchases"].as_array().into_iter().flatten();
            sum += bills.filter_map(|bill| bill[member].as_u64()).sum::<u64>();
        }
        Ok(sum)
    }

    /// The service, its ledger and the purse must agree.
    fn audit(&mut self) -> Result<()> {
        let expected = self.purse.figures();
        let standing = self.standing()?;
        self.is("exposure", &standing["exposure"]["total"], json!(expected.exposure));
        self.is("credit", &standing["credit"], json!(expected.credit));
        let room = json!({"in_store": expected.in_store, "online": expected.online});
        self.is("spendable", &standing["spendable"], room);
        self.is("rung", &standing["rung"]["number"], json!(expected.rung));
        let billed = self.statements()?.into_iter().filter(|bill| bill["status"] != "open");
        let owed = billed.filter_map(|bill| bill["total_due"].as_u64()).sum::<u64>() + self.np("total_due")?;
        self.is("owed", &json!(owed), json!(expected.owed));
        let until = Instant::now() + CATCH_UP;
        for (account, expected) in [("exposure", expected.exposure), ("credit", expected.credit)] {
            let mut sum = self.site.sum(CUSTOMER, account)?;
            while u64::try_from(sum) != Ok(expected) && Instant::now() < until {
                pause(Duration::from_millis(5));
                sum = self.site.sum(CUSTOMER, account)?;
            }
            self.is(&format!("the ledger's {account}"), &json!(sum), json!(expected));
        }
        Ok(())
    }
}
