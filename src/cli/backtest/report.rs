//! What a backtest found, in words and as JSON.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde_json::{Value, json};

use super::Trial;
use crate::domain::model::denial::Reason;
use crate::domain::model::ids::MerchantId;
use crate::domain::model::money::Yen;
use crate::domain::model::time::{Date, HOUR, Millis};

/// Shops that are named; the others are one sum.
const SHOPS: usize = 20;

/// Decisions that came out otherwise, each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flips {
    pub approved_now: u64,
    pub approved_yen: u64,
    pub denied_now: u64,
    pub denied_yen: u64,
}

impl Flips {
    fn add(&mut self, is_approved: bool, amount: Yen) {
        let (count, yen) = if is_approved {
            (&mut self.approved_now, &mut self.approved_yen)
        } else {
            (&mut self.denied_now, &mut self.denied_yen)
        };
        *count += 1;
        *yen += amount.get();
    }

    fn both(&self) -> u64 {
        self.approved_now + self.denied_now
    }

    fn json(&self) -> Value {
        json!({
            "approved_now": {"count": self.approved_now, "yen": self.approved_yen},
            "denied_now": {"count": self.denied_now, "yen": self.denied_yen},
        })
    }
}

/// One decision in both worlds; no reason is an approval.
#[derive(Clone, Copy, Debug)]
pub struct Flip {
    pub from: Option<Reason>,
    pub to: Option<Reason>,
    pub amount: Yen,
    pub shop: MerchantId,
    pub rung: Option<u8>,
    pub at: Millis,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub label: String,
    pub records: u64,
    pub judged: u64,
    pub flips: Flips,
    /// Of sales denied in both worlds: for another reason.
    pub other_reason: u64,
    /// The real reason of what is approved now, the tried one of what is denied now.
    pub by_reason: BTreeMap<&'static str, Flips>,
    /// The customer's rung in the tried world.
    pub by_rung: BTreeMap<u8, Flips>,
    pub by_hour: BTreeMap<u8, Flips>,
    pub by_day: BTreeMap<Date, Flips>,
    pub by_shop: HashMap<MerchantId, Flips>,
    /// Yen at the end of each day with a record: real, tried.
    pub exposure: Vec<(Date, (u64, u64))>,
    /// Yen of principal on bills that are overdue or written off at the end: real, tried.
    pub lost: (u64, u64),
    /// Customers whose books differ.
    pub differing: u64,
    /// Facts that would not be.
    pub left_out: u64,
    /// Yen by which real payments were cut.
    pub cut: u64,
    /// Yen paid for sales that there really were not.
    pub paid_extra: u64,
    /// Sales of the network's that would have been booked otherwise.
    pub other_advices: u64,
}

impl Report {
    pub fn of(trial: &Trial) -> Self {
        Self { label: trial.policy.label.clone(), ..Self::default() }
    }

    pub fn count(&mut self, flip: &Flip) {
        self.judged += 1;
        let is_approved = flip.to.is_none();
        let reason = match (flip.from, flip.to) {
            (None, None) => return,
            (Some(was), Some(is)) => {
                self.other_reason += u64::from(was != is);
                return;
            }
            (Some(reason), None) | (None, Some(reason)) => reason,
        };
        let hour = flip.at.0.saturating_sub(flip.at.date().start().0) / HOUR;
        self.flips.add(is_approved, flip.amount);
        self.by_reason.entry(reason.name()).or_default().add(is_approved, flip.amount);
        self.by_hour.entry(u8::try_from(hour).unwrap_or(0)).or_default().add(is_approved, flip.amount);
        self.by_day.entry(flip.at.date()).or_default().add(is_approved, flip.amount);
        self.by_shop.entry(flip.shop).or_default().add(is_approved, flip.amount);
        if let Some(rung) = flip.rung {
            self.by_rung.entry(rung).or_default().add(is_approved, flip.amount);
        }
    }

    /// The shops with the most, and the others as one.
    pub fn shops(&self) -> Vec<(String, Flips)> {
        let mut all: Vec<_> = self.by_shop.iter().collect();
        all.sort_by_key(|(shop, flips)| (std::cmp::Reverse(flips.both()), **shop));
        let mut named: Vec<_> = all.iter().take(SHOPS).map(|(shop, flips)| (shop.to_string(), **flips)).collect();
        let rest = all.iter().skip(SHOPS).fold(Flips::default(), |sum, (_, flips)| Flips {
            approved_now: sum.approved_now + flips.approved_now,
            approved_yen: sum.approved_yen + flips.approved_yen,
            denied_now: sum.denied_now + flips.denied_now,
            denied_yen: sum.denied_yen + flips.denied_yen,
        });
        if rest.both() > 0 {
            named.push(("all others".to_owned(), rest));
        }
        named
    }

    /// Each list of sums with its name.
    pub fn lists(&self) -> [(&'static str, Vec<(String, Flips)>); 5] {
        fn named<K: ToString>(of: &BTreeMap<K, Flips>) -> Vec<(String, Flips)> {
            of.iter().map(|(key, flips)| (key.to_string(), *flips)).collect()
        }
        [
            ("reason", named(&self.by_reason)),
            ("rung", named(&self.by_rung)),
            ("shop", self.shops()),
            ("hour", named(&self.by_hour)),
            ("day", named(&self.by_day)),
        ]
    }

    pub fn json(&self) -> Value {
        let mut all = json!({
            "policy": self.label,
            "records": self.records,
            "judged": self.judged,
            "flips": self.flips.json(),
            "denied_for_another_reason": self.other_reason,
            "overdue_yen": {"real": self.lost.0, "tried": self.lost.1},
            "customers_that_differ": self.differing,
            "facts_left_out": self.left_out,
            "payments_cut_yen": self.cut,
            "payments_made_up_yen": self.paid_extra,
            "advices_booked_otherwise": self.other_advices,
        });
        let lists = self.lists().into_iter().map(|(name, list)| {
            let rows = list.into_iter().map(|(key, flips)| {
                let mut row = flips.json();
                if let Some(row) = row.as_object_mut() {
                    row.insert(name.to_owned(), Value::from(key));
                }
                row
            });
            (format!("by_{name}"), Value::from(rows.collect::<Vec<_>>()))
        });
        let days = self
            .exposure
            .iter()
            .map(|(day, (real, tried))| json!({"day": day.to_string(), "real_yen": real, "tried_yen": tried}));
        let exposure = ("exposure".to_owned(), Value::from(days.collect::<Vec<_>>()));
        if let Some(all) = all.as_object_mut() {
            all.extend(lists.chain([exposure]));
        }
        all
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flips { approved_now, approved_yen, denied_now, denied_yen } = self.flips;
        writeln!(f, "policy    \"{}\", {} decisions judged in {} records", self.label, self.judged, self.records)?;
        writeln!(f, "flips     {approved_now} denied become approved, {approved_yen} yen")?;
        writeln!(f, "          {denied_now} approved become denied, {denied_yen} yen")?;
        writeln!(f, "          {} denied for another reason", self.other_reason)?;
        for (name, list) in self.lists().iter().filter(|(name, _)| *name != "day") {
            for (key, flips) in list {
                let Flips { approved_now, approved_yen, denied_now, denied_yen } = flips;
                let key = format!("{name} {key}");
                writeln!(f, "  {key:<30} +{approved_now} ({approved_yen} yen)  -{denied_now} ({denied_yen} yen)")?;
            }
        }
        let (real, tried) = self.exposure.last().map_or((0, 0), |(_, both)| *both);
        writeln!(f, "exposure  {real} yen at the end, tried {tried} yen")?;
        writeln!(f, "overdue   {} yen of principal at the end, tried {} yen", self.lost.0, self.lost.1)?;
        writeln!(f, "customers {} whose books differ", self.differing)?;
        write!(
            f,
            "assumed   {} facts left out, payments cut by {} yen, {} yen paid for sales that there were not",
            self.left_out, self.cut, self.paid_extra
        )
    }
}
