//! That the OpenAPI file has a schema for each problem, and that each problem is as its schema says.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::Value;

use super::OPENAPI;
use super::problem::{KINDS, Problem};
use crate::domain::model::bounds::Full;
use crate::domain::model::denial::Reason;
use crate::domain::model::wording::Circumstances;
use crate::engine::readiness::Standby;

pub(crate) fn shown(problem: Problem) -> Value {
    serde_json::from_slice(problem.into_answer().body.as_whole().unwrap()).unwrap()
}

/// `over_hold` as `ProblemOverHold`.
fn schema_name(reason: &str) -> String {
    let first_large = |word: &str| word[..1].to_uppercase() + &word[1..];
    format!("Problem{}", reason.split('_').map(first_large).collect::<String>())
}

/// The members that a schema demands, and those it knows.
fn members<'a>(file: &'a Value, schema: &'a Value) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
    let (mut demanded, mut known) = (BTreeSet::new(), BTreeSet::new());
    let parts = schema["allOf"].as_array().map_or_else(|| vec![schema], |parts| parts.iter().collect());
    for part in parts {
        let part = part["$ref"].as_str().map_or(part, |at| file.pointer(&at[1..]).unwrap());
        demanded.extend(part["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()));
        known.extend(part["properties"].as_object().unwrap().keys().map(String::as_str));
    }
    (demanded, known)
}

/// Checks that a problem's body has what the schema of its reason says, no less and no more.
pub(crate) fn is_as_described(body: &Value) {
    let file: Value = serde_json::from_str(OPENAPI).unwrap();
    let name = schema_name(body["reason"].as_str().unwrap());
    let schema = &file["components"]["schemas"][&name];
    assert!(schema.is_object(), "{name} is missing in openapi.json");
    let own = &schema["allOf"][1]["properties"];
    assert_eq!((&own["status"]["const"], &own["reason"]["const"]), (&body["status"], &body["reason"]), "{name}");
    let (demanded, known) = members(&file, schema);
    let has: BTreeSet<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(demanded.is_subset(&has), "{name}: {demanded:?} in {body}");
    assert!(has.is_subset(&known), "{name}: {body} in {known:?}");
}

/// The schemas that an answer may have, by status, as one call declares them.
fn declared<'a>(file: &'a Value, call: &'a Value) -> BTreeSet<(u16, &'a str)> {
    let mut found = BTreeSet::new();
    for (status, response) in call["responses"].as_object().unwrap() {
        let response = response["$ref"].as_str().map_or(response, |at| file.pointer(&at[1..]).unwrap());
        let schema = &response["content"]["application/problem+json"]["schema"];
        let one = schema["oneOf"].as_array().map_or_else(|| vec![schema], |several| several.iter().collect());
        let status = status.parse().unwrap();
        let name = |schema: &'a Value| schema["$ref"].as_str().and_then(|at| at.rsplit('/').next());
        found.extend(one.into_iter().map(|schema| (status, name(schema).unwrap_or_default())));
    }
    found
}

#[test]
fn every_reason_has_its_schema_and_is_declared_with_its_status() {
    let file: Value = serde_json::from_str(OPENAPI).unwrap();
    let calls: Vec<_> =
        file["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap()).collect();
    let calls: Vec<_> = calls.into_iter().filter(|(key, _)| *key != "parameters").map(|(_, call)| call).collect();
    let all: BTreeSet<_> = calls.iter().flat_map(|call| declared(&file, call)).collect();
    for kind in KINDS {
        let name = schema_name(kind.reason);
        let own = &file["components"]["schemas"][&name]["allOf"][1]["properties"];
        assert_eq!(
            (&own["status"]["const"], &own["reason"]["const"]),
            (&kind.status.into(), &kind.reason.into()),
            "{name}"
        );
        assert!(all.contains(&(kind.status, name.as_str())), "no call declares {name} with {}", kind.status);
    }
    for call in calls {
        let id = &call["operationId"];
        let mut wanted = vec![400, 404, 405, 408, 422, 431, 500, 501];
        if call["security"] != serde_json::json!([]) {
            wanted.extend([401, 403, 503]);
        }
        if call.get("requestBody").is_some() {
            wanted.extend([413, 415]);
        }
        let has: BTreeSet<u16> = declared(&file, call).into_iter().map(|(status, _)| status).collect();
        wanted.retain(|status| !has.contains(status));
        assert!(wanted.is_empty(), "{id} does not declare {wanted:?}");
    }
}

/// What an example has too much or too little, compared with its schema, level by level.
fn misfits(file: &Value, schema: &Value, example: &Value) -> Vec<String> {
    let schema = schema["$ref"].as_str().map_or(schema, |at| file.pointer(&at[1..]).unwrap());
    if let Some(rows) = example.as_array() {
        return rows.iter().flat_map(|row| misfits(file, &schema["items"], row)).collect();
    }
    let (Some(has), Some(known)) = (example.as_object(), schema["properties"].as_object()) else { return Vec::new() };
    let demanded = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let missing = demanded.filter(|name| !has.contains_key(*name)).map(|name| format!("{name} is missing"));
    let unknown = has.keys().filter(|name| !known.contains_key(*name)).map(|name| format!("{name} is not known"));
    let inside = has.iter().filter_map(|(name, part)| Some(misfits(file, known.get(name)?, part)));
    missing.chain(unknown).chain(inside.flatten()).collect()
}

#[test]
fn each_call_about_money_shows_what_is_sent_and_what_is_answered() {
    let file: Value = serde_json::from_str(OPENAPI).unwrap();
    let calls = file["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap());
    let is_about_money = |call: &&Value| call["tags"].as_array().is_some_and(|tags| tags.contains(&"money".into()));
    let mut examples = 0;
    for call in calls.map(|(_, call)| call).filter(is_about_money) {
        let id = &call["operationId"];
        for content in [&call["requestBody"]["content"], &call["responses"]["200"]["content"]] {
            for shown in content.as_object().into_iter().flat_map(|kinds| kinds.values()) {
                let example = shown.get("example").unwrap_or_else(|| panic!("{id} has no example"));
                assert_eq!(misfits(&file, &shown["schema"], example), [""; 0], "{id}");
                examples += 1;
            }
        }
    }
    assert!(examples > 50, "{examples}");
}

#[test]
fn problems_have_the_members_that_are_described() {
    for problem in [
        Problem::field("/amount", "must be a whole number"),
        Problem::parameter("after", "must be a position"),
        Problem::in_path("month", "must be `YYYY-MM`"),
        Problem::in_header("Last-Event-ID", "must be a position"),
        Problem::unauthorized(true),
        Problem::method_not_allowed(&[Method::GET]),
        Problem::busy(),
        Problem::not_ready(),
        Problem::not_owner(&Standby {
            of: "a".into(),
            address: "https://a.example:8443".into(),
            behind: 3,
            is_blind: false,
        }),
        Problem::full(Full::Orders),
        Problem::fact_too_large(),
        Problem::internal(),
    ] {
        is_as_described(&shown(problem));
    }
    use Reason::{Closed, ConsentRequired, CustomerUnknown, IdentityRequired, Overdue, Suspended};
    for reason in [Closed, ConsentRequired, CustomerUnknown, IdentityRequired, Overdue, Suspended] {
        is_as_described(&shown(Problem::code_refused(reason, &Circumstances::default())));
    }
}

#[test]
fn a_reason_leads_to_each_error_of_an_answer() {
    let file: Value = serde_json::from_str(OPENAPI).unwrap();
    for (name, response) in file["components"]["responses"].as_object().unwrap() {
        let schema = &response["content"]["application/problem+json"]["schema"];
        let Some(one_of) = schema["oneOf"].as_array() else { continue };
        let listed: BTreeSet<_> = one_of.iter().map(|one| one["$ref"].as_str()).collect();
        let mapping = schema["discriminator"]["mapping"].as_object().unwrap();
        assert_eq!(mapping.values().map(Value::as_str).collect::<BTreeSet<_>>(), listed, "{name}");
    }
}
