//! The credit team's rules, read from `config/policy.toml`. Every number has its unit in its name or comment.
//! The text itself is journaled when it changes, and every decision cites the version it used.

use serde::{Deserialize, Serialize};

use super::customer::{Limits, Record};
use super::ids::Category;
use super::money::Yen;
use super::terms::{Billing, RawLateness, RawTerms, Slips, Terms};

/// A policy, checked. `label` is the credit team's own name of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub label: String,
    pub customers: Customers,
    pub codes: Codes,
    ladder: Vec<Rung>,
    pub payment_cap: Option<Yen>,
    pub velocity: Velocity,
    pub same_basket_ms: i64,
    pub categories: Vec<CategoryRule>,
    /// They count from the day after: [`TermsByDay`](super::terms::TermsByDay).
    pub terms: Terms,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Customers {
    /// Years. Below it a guardian's consent is needed.
    pub adult_age: i16,
    /// The soft-launch switch: `false` lets unverified members pay in store.
    pub identity_required_in_store: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Codes {
    /// Life of a code, seconds.
    pub life_seconds: u16,
    /// When the app should show a fresh one, seconds after issue.
    pub refresh_seconds: u16,
    /// Life of a code of 19 digits, seconds. They carry no seal, so it is short.
    #[serde(default = "tok19_life_seconds")]
    pub tok19_life_seconds: u16,
    /// Most yen in one payment by 19 digits alone.
    #[serde(default = "tok19_cap_yen")]
    pub tok19_cap_yen: u64,
    /// Codes that one customer is given in an hour; any number where it is left out.
    pub max_per_hour: Option<u16>,
}

const fn tok19_life_seconds() -> u16 {
    60
}

const fn tok19_cap_yen() -> u64 {
    3_000
}

/// One step of the ladder of limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    pub limits: Limits,
    /// What it takes to stand on this rung.
    pub conditions: Conditions,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    #[serde(default)]
    pub on_time_bills: u16,
    #[serde(default)]
    pub purchases: u16,
    #[serde(default)]
    pub months_active: u16,
}

impl Conditions {
    pub const fn are_met(&self, record: &Record) -> bool {
        record.on_time_bills >= self.on_time_bills
            && record.purchases >= self.purchases
            && record.months_active >= self.months_active
    }
}

/// Bounds on how often and how much within a rolling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Velocity {
    pub window_ms: i64,
    pub max_count: Option<u32>,
    pub max_amount: Option<Yen>,
}

/// A decision says by one byte which rule it met.
const MOST_CATEGORIES: usize = 255;

/// What is done with a kind of goods or shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryRule {
    pub name: String,
    mccs: Vec<u16>,
    items: Vec<Category>,
    pub action: CategoryAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CategoryAction {
    Block,
    /// Most yen in one payment.
    Cap(Yen),
    /// Allowed from this rung on (from 0).
    FromRung(u8),
    /// Allowed with a verified identity only.
    Verified,
}

impl CategoryRule {
    pub fn covers(&self, mcc: u16, items: &[Category]) -> bool {
        self.mccs.contains(&mcc) || items.iter().any(|item| self.items.contains(item))
    }
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    label: String,
    customers: Customers,
    codes: Codes,
    limits: RawLimits,
    ladder: Vec<RawRung>,
    #[serde(default)]
    payment: RawPayment,
    velocity: RawVelocity,
    same_basket: RawBasket,
    #[serde(default)]
    category: Vec<RawCategory>,
    points: RawPoints,
    np_atobarai: RawNp,
    #[serde(default)]
    billing: Billing,
    #[serde(default)]
    lateness: RawLateness,
    #[serde(default)]
    slips: Slips,
    #[serde(default)]
    credit: RawCredit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCredit {
    payout_after_months: i8,
}

impl Default for RawCredit {
    fn default() -> Self {
        Self { payout_after_months: 3 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    total_yen: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRung {
    in_store_yen: u64,
    #[serde(default)]
    needs: Conditions,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPayment {
    cap_yen: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVelocity {
    window_hours: u16,
    max_count: Option<u32>,
    max_amount_yen: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBasket {
    window_seconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCategory {
    name: String,
    #[serde(default)]
    mcc: Vec<u16>,
    #[serde(default)]
    items: Vec<String>,
    action: RawAction,
    cap_yen: Option<u64>,
    from_rung: Option<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawAction {
    Block,
    Cap,
    FromRung,
    Verified,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPoints {
    yen_per_point: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNp {
    due_days: u16,
}

/// Why a policy file is refused: the key, and the line where TOML can tell.
#[derive(Debug, thiserror::Error)]
pub enum BadPolicy {
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    #[error("`{key}`: {problem}")]
    Value { key: String, problem: String },
}

fn bad(key: &str, problem: impl Into<String>) -> BadPolicy {
    BadPolicy::Value { key: key.to_owned(), problem: problem.into() }
}

/// Refuses what cannot be meant. Any yen amount, zero included, is taken at its word.
fn check(raw: &Raw) -> Result<(), BadPolicy> {
    let ladder = &raw.ladder;
    let checks = [
        (raw.label.is_empty() || raw.label.len() > 64, "label", "must be 1 to 64 characters"),
        (!(0..=100).contains(&raw.customers.adult_age), "customers.adult_age", "must be 0 to 100 years"),
        (!(10..=3_600).contains(&raw.codes.life_seconds), "codes.life_seconds", "must be 10 to 3,600"),
        (
            raw.codes.refresh_seconds == 0 || raw.codes.refresh_seconds > raw.codes.life_seconds,
            "codes.refresh_seconds",
            "must be 1 to codes.life_seconds",
        ),
        (raw.codes.max_per_hour == Some(0), "codes.max_per_hour", "must be at least 1; left out it means no bound"),
        (!(10..=3_600).contains(&raw.codes.tok19_life_seconds), "codes.tok19_life_seconds", "must be 10 to 3,600"),
        (!(1..=32).contains(&ladder.len()), "ladder", "must have 1 to 32 rungs"),
        (
            ladder.windows(2).any(|pair| matches!(pair, [low, high] if low.in_store_yen > high.in_store_yen)),
            "ladder.in_store_yen",
            "must not fall from one rung to the next",
        ),
        (
            ladder.iter().any(|rung| rung.in_store_yen > raw.limits.total_yen),
            "ladder.in_store_yen",
            "must not exceed limits.total_yen: the in-store limit lies inside the total",
        ),
        (!(1..=24).contains(&raw.velocity.window_hours), "velocity.window_hours", "must be 1 to 24"),
        (raw.same_basket.window_seconds > 86_400, "same_basket.window_seconds", "must be at most 86,400"),
        (raw.category.len() > MOST_CATEGORIES, "category", "must be at most 255 rules"),
    ];
    match checks.into_iter().find(|(wrong, ..)| *wrong) {
        Some((_, key, problem)) => Err(bad(key, problem)),
        None => Ok(()),
    }
}

fn category(raw: RawCategory) -> Result<CategoryRule, BadPolicy> {
    let key = |field: &str| format!("category \"{}\".{field}", raw.name);
    let action = match raw.action {
        RawAction::Block => CategoryAction::Block,
        RawAction::Cap => CategoryAction::Cap(Yen::new(raw.cap_yen.ok_or_else(|| bad(&key("cap_yen"), "is missing"))?)),
        RawAction::FromRung => {
            CategoryAction::FromRung(raw.from_rung.ok_or_else(|| bad(&key("from_rung"), "is missing"))?)
        }
        RawAction::Verified => CategoryAction::Verified,
    };
    if raw.mcc.iter().any(|mcc| *mcc > 9_999) {
        return Err(bad(&key("mcc"), "must be four digits"));
    }
    let items: Result<Vec<_>, _> = raw.items.iter().map(|item| Category::new(&item.to_ascii_lowercase())).collect();
    let items = items.map_err(|problem| bad(&key("items"), problem.to_string()))?;
    Ok(CategoryRule { name: raw.name.clone(), mccs: raw.mcc.clone(), items, action })
}

impl Policy {
    /// Reads and checks the text of a policy file.
    pub fn parse(text: &str) -> Result<Self, BadPolicy> {
        let raw: Raw = toml::from_str(text)?;
        check(&raw)?;
        let total = Yen::new(raw.limits.total_yen);
        let rung = |rung: &RawRung| Rung {
            limits: Limits { total, in_store: Yen::new(rung.in_store_yen) },
            conditions: rung.needs,
        };
        let terms = RawTerms {
            billing: raw.billing,
            lateness: raw.lateness,
            slips: raw.slips,
            np_due_days: raw.np_atobarai.due_days,
            yen_per_point: raw.points.yen_per_point,
            payout_after_months: raw.credit.payout_after_months,
        };
        Ok(Self {
            label: raw.label,
            customers: raw.customers,
            codes: raw.codes,
            ladder: raw.ladder.iter().map(rung).collect(),
            payment_cap: raw.payment.cap_yen.map(Yen::new),
            velocity: Velocity {
                window_ms: i64::from(raw.velocity.window_hours) * super::time::HOUR,
                max_count: raw.velocity.max_count,
                max_amount: raw.velocity.max_amount_yen.map(Yen::new),
            },
            same_basket_ms: i64::from(raw.same_basket.window_seconds) * super::time::SECOND,
            categories: raw.category.into_iter().map(category).collect::<Result<_, _>>()?,
            terms: Terms::new(terms).map_err(|(key, problem)| bad(key, problem))?,
        })
    }

    /// The rung's figures; a rung the present policy no longer has counts as its highest.
    pub fn rung(&self, rung: u8) -> &Rung {
        let last = self.ladder.len() - 1;
        &self.ladder[usize::from(rung).min(last)]
    }

    pub fn next_rung(&self, rung: u8) -> Option<&Rung> {
        self.ladder.get(usize::from(rung) + 1)
    }

    /// Number of the highest rung.
    pub fn top_rung(&self) -> u8 {
        u8::try_from(self.ladder.len() - 1).unwrap_or(u8::MAX)
    }

    /// The rules that speak of this shop or these goods, each with its place from 1.
    pub fn rules_for<'a>(&'a self, mcc: u16, items: &'a [Category]) -> impl Iterator<Item = (u8, &'a CategoryRule)> {
        (1..=u8::MAX).zip(&self.categories).filter(move |(_, rule)| rule.covers(mcc, items))
    }

    /// The rule at a place from 1.
    pub fn rule(&self, place: u8) -> Option<&CategoryRule> {
        self.categories.get(usize::from(place).checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../config/policy.toml");

    #[test]
    fn the_shipped_policy_has_the_figures_of_the_service() {
        let policy = Policy::parse(SHIPPED).unwrap();
        assert_eq!(policy.rung(0).limits, Limits { total: Yen::new(50_000), in_store: Yen::new(2_000) });
        assert_eq!(policy.rung(policy.top_rung()).limits.in_store, Yen::new(15_000));
        assert_eq!(policy.rung(200).limits.in_store, Yen::new(15_000));
        assert_eq!(policy.velocity.max_count, Some(100));
        assert_eq!((policy.codes.life_seconds, policy.codes.tok19_life_seconds), (300, 60));
        assert_eq!(policy.codes.tok19_cap_yen, 3_000);
    }

    #[test]
    fn a_policy_of_before_the_19_digits_means_the_same() {
        let older = SHIPPED.lines().filter(|line| !line.starts_with("tok19_")).collect::<Vec<_>>().join("\n");
        assert_eq!(SHIPPED.lines().count(), older.lines().count() + 2);
        assert_eq!(Policy::parse(&older).unwrap(), Policy::parse(SHIPPED).unwrap());
    }

    #[test]
    fn t_05_points_are_floored_per_purchase() {
        let policy = Policy::parse(SHIPPED).unwrap();
        for (yen, points) in [(199, 0), (200, 1), (399, 1), (400, 2), (15_000, 75), (50_000, 250), (150, 0)] {
            assert_eq!(policy.terms.points(Yen::new(yen)), points, "{yen} yen");
        }
    }

    #[test]
    fn a_wrong_policy_names_the_key() {
        let cases = [
            ("total_yen = 50_000", "", "total_yen"),
            ("total_yen = 50_000", "total_yen = -1", "total_yen"),
            ("total_yen = 50_000", "total_yen = 1.5", "total_yen"),
            ("total_yen = 50_000", "total_yen = 100", "ladder.in_store_yen"),
            ("adult_age = 20", "adult_age = 200", "customers.adult_age"),
            ("adult_age = 20", "adult_age = 20\nadlut = 1", "adlut"),
            ("tok19_life_seconds = 60", "tok19_life_seconds = 5", "codes.tok19_life_seconds"),
            ("tok19_cap_yen = 3_000", "tok19_cap_yen = -1", "tok19_cap_yen"),
            ("tax_percent = 10", "tax_percent = 101", "billing.tax_percent"),
            ("tax_percent = 10", "registration_number = \"T123\"", "billing.registration_number"),
            ("due_soon_days = 3", "due_soon_days = 40", "billing.due_soon_days"),
        ];
        for (from, to, key) in cases {
            assert!(SHIPPED.contains(from), "{from}");
            let error = Policy::parse(&SHIPPED.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(key), "{error:?} should name {key}");
        }
    }

    #[test]
    fn a_limit_of_zero_means_zero() {
        let zero = SHIPPED
            .replace("total_yen = 50_000", "total_yen = 0")
            .replace("in_store_yen = 2_000", "in_store_yen = 0")
            .replace("in_store_yen = 5_000", "in_store_yen = 0")
            .replace("in_store_yen = 10_000", "in_store_yen = 0")
            .replace("in_store_yen = 15_000", "in_store_yen = 0");
        assert_eq!(Policy::parse(&zero).unwrap().rung(3).limits, Limits { total: Yen::ZERO, in_store: Yen::ZERO });
    }
}
