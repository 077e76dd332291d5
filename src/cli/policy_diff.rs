//! `sokketsu policy diff A B`: what changes between two policy files, in words. What is left out counts as its default.

use std::collections::BTreeMap;

use crate::domain::model::policy::{BadPolicy, Policy};

/// Where a key stands, what it is, its unit, and what it is where it is left out.
type Key = (&'static str, &'static str, &'static str, Option<&'static str>);

const NONE: Option<&str> = Some("none");

const KEYS: [Key; 36] = [
    ("label", "the policy's name", "", None),
    ("customers.adult_age", "age from which no guardian's consent is needed", "years", None),
    ("customers.identity_required_in_store", "paying in store needs a verified identity", "", None),
    ("codes.life_seconds", "a code pays within", "seconds", None),
    ("codes.refresh_seconds", "the app shows a fresh code after", "seconds", None),
    ("codes.tok19_life_seconds", "a code of 19 digits pays within", "seconds", Some("60")),
    ("codes.tok19_cap_yen", "most in one payment by 19 digits alone", "yen", Some("3000")),
    ("codes.max_per_hour", "codes that one customer is given in an hour", "", NONE),
    ("limits.total_yen", "limit over all channels", "yen", None),
    ("payment.cap_yen", "most in one payment", "yen", NONE),
    ("velocity.window_hours", "window in which payments are counted", "hours", None),
    ("velocity.max_count", "most payments within the window", "", NONE),
    ("velocity.max_amount_yen", "most paid within the window", "yen", NONE),
    ("same_basket.window_seconds", "the same amount at the same shop needs a confirmation within", "seconds", None),
    ("points.yen_per_point", "one point for every", "yen", None),
    ("np_atobarai.due_days", "an NP Atobarai purchase is due after", "days", None),
    ("billing.konbini_due_day", "a konbini bill is due on day of the month", "", Some("10")),
    ("billing.konbini_fee_yen", "fee of a konbini bill", "yen", Some("209")),
    ("billing.postcard_due_day", "a postcard bill is due on day of the month", "", Some("20")),
    ("billing.postcard_fee_yen", "fee of a postcard bill", "yen", Some("209")),
    ("billing.debit_draw_day", "a debit is drawn on day of the month", "", Some("27")),
    ("billing.debit_fee_yen", "fee of a bill drawn by debit", "yen", Some("0")),
    ("billing.tax_percent", "consumption tax in fees", "percent", Some("10")),
    ("billing.registration_number", "registration number of the issuer", "", NONE),
    ("billing.due_soon_days", "a bill is told to be due soon before its due date by", "days", Some("3")),
    ("lateness.fee_yen", "late fee of an unpaid bill on each fee day", "yen", Some("100")),
    ("lateness.np_fee_yen", "late fee of an unpaid NP Atobarai purchase on each fee day", "yen", Some("0")),
    ("lateness.fee_days", "late fees are charged on days of the month", "", Some("[10, 25]")),
    ("lateness.damages_percent_a_year", "damages for lateness a year", "percent", Some("14.6")),
    ("lateness.late_bill", "what a bill paid late does to the rung", "", Some("keep")),
    ("lateness.ceiling", "late fees and damages together stay below that percentage", "", Some("false")),
    ("slips.late_days", "a payment slip can be issued past the due date for", "days", Some("365")),
    ("credit.payout_after_months", "credit that met no bill is paid out after", "months", Some("3")),
    ("in_store_yen", "limit in store", "yen", None),
    ("cap_yen", "most in one payment", "yen", NONE),
    ("from_rung", "allowed from rung (the lowest is 0)", "", NONE),
];

/// Of a rung or a category, by the last part of the key.
const OF_A_LIST: [(&str, &str); 6] = [
    ("on_time_bills", "bills paid in time that it needs"),
    ("purchases", "purchases that it needs"),
    ("months_active", "months with a purchase that it needs"),
    ("mcc", "kinds of shop (MCC)"),
    ("items", "goods"),
    ("action", "what is done"),
];

fn word(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn flatten(at: &str, value: &toml::Value, all: &mut BTreeMap<String, String>) {
    let under = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| flatten(&under(key), value, all)),
        toml::Value::Array(list) if at == "ladder" => {
            for (rung, value) in list.iter().enumerate() {
                flatten(&format!("rung {rung}"), value, all);
                for need in ["on_time_bills", "purchases", "months_active"] {
                    all.entry(format!("rung {rung}.needs.{need}")).or_insert_with(|| "0".to_owned());
                }
            }
        }
        toml::Value::Array(list) if at == "category" => {
            for (place, value) in list.iter().enumerate() {
                let name = value.get("name").map_or_else(|| place.to_string(), word);
                let is_known = all.keys().any(|key| key.starts_with(&format!("category \"{name}\".")));
                let name = if is_known { format!("{name}\" ({place}) \"") } else { name };
                flatten(&format!("category \"{name}\""), value, all);
            }
        }
        value => drop(all.insert(at.to_owned(), word(value))),
    }
}

/// A key's words and unit.
fn explained(key: &str) -> (String, &'static str) {
    if let Some((_, words, unit, _)) = KEYS.iter().find(|(name, ..)| *name == key) {
        return ((*words).to_owned(), unit);
    }
    let (of, last) = key.split_once('.').unwrap_or(("", key));
    let last = last.rsplit('.').next().unwrap_or(last);
    if let Some((_, words, unit, _)) = KEYS.iter().find(|(name, ..)| *name == last) {
        return (format!("{of}: {words}"), unit);
    }
    let words = OF_A_LIST.iter().find(|(name, _)| *name == last).map_or(last, |(_, words)| words);
    (format!("{of}: {words}"), "")
}

fn values(text: &str) -> Result<BTreeMap<String, String>, BadPolicy> {
    Policy::parse(text)?;
    let mut all = BTreeMap::new();
    flatten("", &toml::Value::Table(toml::from_str(text)?), &mut all);
    for (key, _, _, default) in KEYS {
        if let Some(default) = default.filter(|_| key.contains('.')) {
            all.entry(key.to_owned()).or_insert_with(|| default.to_owned());
        }
    }
    Ok(all)
}

/// A line for each key that changes; what is only in one of the two is told as added or gone.
pub fn diff(one: &str, other: &str) -> Result<Vec<String>, BadPolicy> {
    let (one, other) = (values(one)?, values(other)?);
    let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
    keys.sort();
    keys.dedup();
    let line = |key: &String| {
        let (words, unit) = explained(key);
        let said =
            |value: &String| if unit.is_empty() || value == "none" { value.clone() } else { format!("{value} {unit}") };
        match (one.get(key), other.get(key)) {
            (Some(was), Some(is)) if was == is => None,
            (Some(was), Some(is)) => Some(format!("{words}: {} becomes {}", said(was), said(is))),
            (Some(was), None) => Some(format!("{words}: {} is gone", said(was))),
            (None, Some(is)) => Some(format!("{words}: {} is new", said(is))),
            (None, None) => None,
        }
    };
    Ok(keys.into_iter().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../config/policy.toml");

    fn changed(from: &str, to: &str) -> Vec<String> {
        assert!(SHIPPED.contains(from), "{from}");
        diff(SHIPPED, &SHIPPED.replace(from, to)).unwrap()
    }

    #[test]
    fn a_change_is_told_in_words_and_what_is_left_out_is_its_default() {
        assert_eq!(diff(SHIPPED, SHIPPED).unwrap(), [] as [&str; 0]);
        assert_eq!(
            changed("in_store_yen = 2_000", "in_store_yen = 4000"),
            ["rung 0: limit in store: 2000 yen becomes 4000 yen"]
        );
        assert_eq!(changed("max_count = 100", ""), ["most payments within the window: 100 becomes none"]);
        assert_eq!(changed("tok19_cap_yen = 3_000", ""), [] as [&str; 0]);
        assert_eq!(
            changed("action = \"block\"", "action = \"verified\""),
            ["category \"gift cards\": what is done: block becomes verified"]
        );
        assert_eq!(changed("purchases = 5, ", ""), ["rung 2: purchases that it needs: 5 becomes 0"]);
        assert_eq!(
            changed("fee_days = [10, 25]", "fee_days = [10]"),
            ["late fees are charged on days of the month: [10, 25] becomes [10]"]
        );
        assert!(diff(SHIPPED, "label = 1").is_err());
    }

    #[test]
    fn every_key_of_the_shipped_policy_has_words_and_its_default_is_the_parsers() {
        for key in values(SHIPPED).unwrap().keys().filter(|key| !key.ends_with(".name")) {
            let (words, _) = explained(key);
            assert!(words.contains(' '), "{key}: {words}");
            let last = key.rsplit('.').next().unwrap();
            assert!(
                KEYS.iter().any(|(name, ..)| name == key || *name == last)
                    || OF_A_LIST.iter().any(|(name, _)| *name == last),
                "{key}"
            );
        }
        // Sections that may be left out: the parser and this table mean the same by that.
        let head = SHIPPED.split("[billing]").next().unwrap();
        let full = KEYS.iter().filter_map(|(key, _, _, default)| {
            let (section, last) = key.split_once('.')?;
            let default = default.filter(|default| *default != "none")?;
            let is_there = !SHIPPED.split("[billing]").next()?.contains(&format!("[{section}]"));
            let quoted = matches!(last, "late_bill" | "damages_percent_a_year");
            is_there.then(|| {
                (section, if quoted { format!("{last} = \"{default}\"") } else { format!("{last} = {default}") })
            })
        });
        let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        full.for_each(|(section, line)| sections.entry(section).or_default().push(line));
        let tail: String =
            sections.iter().map(|(section, lines)| format!("[{section}]\n{}\n", lines.join("\n"))).collect();
        assert_eq!(Policy::parse(head).unwrap(), Policy::parse(&format!("{head}{tail}")).unwrap());
    }
}
