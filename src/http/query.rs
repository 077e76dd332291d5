//! A call's query, whose every parameter must be known.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::fields::FromText;
use super::problem::Problem;
use crate::domain::model::time::Date;

/// The query of a call that takes none.
pub(crate) fn check_no_query(query: Option<&str>) -> Result<(), Problem> {
    Query::read(query, &[]).map(drop)
}

/// The query's parameters, each known and there at most once.
pub(crate) struct Query<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Query<'a> {
    pub(crate) fn read(query: Option<&'a str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                let shown: String = name.chars().take(64).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::parameter(&shown, format!("is not known; known here: {known}")));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::parameter(name, "is there twice"));
            }
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| Problem::parameter(name, "is not UTF-8 when decoded"))?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_ref())
    }

    /// A day, if it is there.
    pub(crate) fn date(&self, name: &str) -> Result<Option<Date>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        Date::parse(text).map(Some).ok_or_else(|| Problem::parameter(name, "must be `YYYY-MM-DD`"))
    }

    /// A value of a kind, if it is there.
    pub(crate) fn read_as<T: FromText>(&self, name: &str) -> Result<Option<T>, Problem> {
        let read = self.text(name).map(T::from_text).transpose();
        read.map_err(|wanted| Problem::parameter(name, wanted))
    }

    /// A whole number within bounds, if it is there.
    pub(crate) fn number(&self, name: &str, bounds: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        let wanted = || format!("must be a whole number from {} to {}", bounds.start(), bounds.end());
        number.map(Some).ok_or_else(|| Problem::parameter(name, wanted()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_known_or_refused() {
        let query = Query::read(Some("wait_ms=5"), &["wait_ms"]).unwrap();
        assert_eq!(query.number("wait_ms", 0..=10).unwrap(), Some(5));
        assert_eq!(query.number("limit", 0..=10).unwrap(), None);
        assert!(query.number("wait_ms", 6..=10).is_err());
        for bad in ["wait=5", "wait_ms=1&wait_ms=1"] {
            assert!(Query::read(Some(bad), &["wait_ms"]).is_err(), "{bad}");
        }
        assert!(Query::read(Some("wait_ms=-1"), &["wait_ms"]).unwrap().number("wait_ms", 0..=10).is_err());
    }
}
