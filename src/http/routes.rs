//! Every call in one table: method, path, who may make it. The path's template is also the metric's label.

use std::collections::HashMap;

use hyper::Method;

use super::problem::{NOT_FOUND, Problem};
use super::trust::callers::Role;
use crate::metrics::CallTimers;

/// The metric's label for what is no call of ours.
pub const UNMATCHED: &str = "unmatched";

/// What is accepted as a body.
#[derive(Debug, PartialEq, Eq)]
pub struct BodyKind {
    pub media_type: &'static str,
    /// Bytes.
    pub most: usize,
    /// The call says all without one.
    pub may_be_absent: bool,
}

/// A purchase with a long list of items has about 8 KiB.
const JSON: BodyKind = BodyKind { media_type: "application/json", most: 16 * 1_024, may_be_absent: false };
const MAYBE_JSON: BodyKind = BodyKind { may_be_absent: true, ..JSON };
/// Some 50,000 lines.
const CSV: BodyKind = BodyKind { media_type: "text/csv", most: 4 * 1_024 * 1_024, may_be_absent: false };

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub call: Call,
    /// Who may call; nobody in particular when empty.
    pub roles: &'static [Role],
    /// Method and template.
    pub label: &'static str,
    pub takes_body: bool,
}

impl Route {
    /// What a body of this call is.
    pub fn body(&self) -> &'static BodyKind {
        match self.call {
            Call::Import => &CSV,
            Call::ReleaseBlock | Call::ConfirmPayment | Call::WithdrawPayment => &MAYBE_JSON,
            _ => &JSON,
        }
    }

    /// Whether a task of its own carries it out, so that it goes on to its end whoever hangs up: every call that changes
    /// something. A decision is one question, which is with the engine as soon as the body is there; it needs no task,
    /// but where its code is looked up first, and there it takes one.
    pub fn runs_by_itself(&self) -> bool {
        self.method != Method::GET && self.call != Call::Authorize
    }

    /// Calls that read their query by themselves; every other takes none.
    pub const fn reads_query(&self) -> bool {
        use Call::{
            Barcode, Events, FindApproved, FindAuthorization, FindRefund, GetAccount, GetCode, History,
            ListCustomerAuthorizations, ListCustomerCaptures, ListCustomerRefunds, ListCustomers, ListMerchants,
            ListPayouts, ListShopAuthorizations, ListShopCaptures, ListShopRefunds, ListSuspense, Qr,
        };
        let lists = matches!(
            self.call,
            ListCustomerAuthorizations
                | ListCustomerCaptures
                | ListCustomerRefunds
                | ListCustomers
                | ListMerchants
                | ListShopAuthorizations
                | ListShopCaptures
                | ListShopRefunds
                | ListPayouts
                | ListSuspense
                | FindRefund
                | FindApproved
        );
        lists || matches!(self.call, FindAuthorization | GetAccount | GetCode | Barcode | Qr | Events | History)
    }

    /// Calls that tell how the service is, before it is ready too.
    pub fn is_open(&self) -> bool {
        self.roles.is_empty()
    }

    /// Whether nobody but staff may call it: with an admin address it is served there only.
    pub fn is_staff_only(&self) -> bool {
        let staff = |role: &Role| matches!(role, Role::Office | Role::Ops);
        self.call == Call::Metrics || (!self.is_open() && self.roles.iter().all(staff))
    }
}

macro_rules! routes {
    ($($method:ident $path:literal $call:ident [$($role:ident)*];)*) => {
        /// A call, resolved.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Call {
            $($call),*
        }

        /// A call stands at its own number.
        pub const ROUTES: &[Route] = &[$(Route {
            method: Method::$method,
            path: $path,
            call: Call::$call,
            roles: &[$(Role::$role),*],
            label: concat!(stringify!($method), " ", $path),
            takes_body: matches!(stringify!($method).as_bytes(), b"POST" | b"PUT"),
        }),*];
    };
}

routes! {
    PUT "/v1/customers/{customer_id}" PutCustomer [Office];
    GET "/v1/customers/{customer_id}" GetCustomer [Office Wallet];
    PUT "/v1/customers/{customer_id}/payment-method" PutPaymentMethod [Wallet Office];
    POST "/v1/customers/{customer_id}/repayments" Repay [Office];
    POST "/v1/customers/{customer_id}/payment-slips" IssueSlip [Office Wallet];
    POST "/v1/customers/{customer_id}/damages" PostDamages [Office];
    POST "/v1/customers/{customer_id}/blocks" Block [Office];
    POST "/v1/customers/{customer_id}/blocks/{block_id}/release" ReleaseBlock [Office];
    POST "/v1/customers/{customer_id}/freeze" Freeze [Wallet Office];
    POST "/v1/customers/{customer_id}/freeze/{freeze_id}/release" Unfreeze [Office];
    POST "/v1/customers/{customer_id}/payouts" PayOut [Office];
    POST "/v1/customers/{customer_id}/payouts/{payout_id}/bounced" BouncePayout [Office];
    POST "/v1/customers/{customer_id}/repayments/{repayment_id}/reversal" ReverseRepayment [Office];
    POST "/v1/customers/{customer_id}/fees/{fee_id}/waiver" WaiveFee [Office];
    POST "/v1/customers/{customer_id}/damages/{posting_id}/reversal" ReverseDamages [Office];
    POST "/v1/customers/{customer_id}/write-offs" WriteOff [Office];
    POST "/v1/customers/{customer_id}/write-offs/{write_off_id}/release" ReleaseWriteOff [Office];
    POST "/v1/customers/{customer_id}/credit/applications" ApplyCredit [Office];
    POST "/v1/customers/{customer_id}/payments-pending" ExpectPayment [Office];
    POST "/v1/customers/{customer_id}/payments-pending/{payment_id}/final" ConfirmPayment [Office];
    POST "/v1/customers/{customer_id}/payments-pending/{payment_id}/withdrawn" WithdrawPayment [Office];
    GET "/v1/customers/{customer_id}/repayments" ListRepayments [Office];
    GET "/v1/customers/{customer_id}/payments-pending" ListPending [Office];
    GET "/v1/customers/{customer_id}/blocks" ListBlocks [Office];
    GET "/v1/customers/{customer_id}/credit" GetCredit [Office];
    GET "/v1/customers/{customer_id}/points" GetPoints [Office];
    GET "/v1/customers/{customer_id}/ladder" GetLadder [Office];
    GET "/v1/customers/{customer_id}/account" GetAccount [Office];
    GET "/v1/customers/{customer_id}/statements" ListStatements [Office Wallet];
    GET "/v1/customers/{customer_id}/statements/{bill}" GetStatement [Office Wallet];
    GET "/v1/customers/{customer_id}/history" History [Office Wallet];
    GET "/v1/payouts" ListPayouts [Office];
    GET "/v1/suspense" ListSuspense [Office];
    POST "/v1/suspense/{authorization_id}/settlement" SettleSuspense [Office];
    POST "/v1/imports" Import [Office];
    PUT "/v1/merchants/{merchant_id}" PutMerchant [Office];
    GET "/v1/merchants/{merchant_id}" GetMerchant [Office];
    GET "/v1/merchants" ListMerchants [Office];
    GET "/v1/merchants/{merchant_id}/authorizations" ListShopAuthorizations [Register Office];
    GET "/v1/merchants/{merchant_id}/captures" ListShopCaptures [Register Office];
    GET "/v1/merchants/{merchant_id}/refunds" ListShopRefunds [Register Office];
    GET "/v1/customers" ListCustomers [Office];
    GET "/v1/customers/{customer_id}/authorizations" ListCustomerAuthorizations [Office Wallet];
    GET "/v1/customers/{customer_id}/captures" ListCustomerCaptures [Office Wallet];
    GET "/v1/customers/{customer_id}/refunds" ListCustomerRefunds [Office Wallet];
    GET "/v1/refunds/{refund_id}" FindRefund [Register Office];
    GET "/v1/approval-codes/{approval_code}" FindApproved [Register Office];
    POST "/v1/codes" IssueCode [Wallet];
    GET "/v1/codes/{code_id}" GetCode [Wallet];
    DELETE "/v1/codes/{code_id}" VoidCode [Wallet];
    GET "/v1/codes/{code_id}/barcode.svg" Barcode [Wallet];
    GET "/v1/codes/{code_id}/qr.svg" Qr [Wallet];
    POST "/v1/authorizations" Authorize [Register];
    GET "/v1/authorizations" FindAuthorization [Register Office];
    GET "/v1/authorizations/{authorization_id}" GetAuthorization [Register Office];
    POST "/v1/authorizations/{authorization_id}/captures" Capture [Register];
    POST "/v1/authorizations/{authorization_id}/refunds" Refund [Register Office];
    POST "/v1/cancellations" Cancel [Register];
    GET "/v1/events" Events [Ops];
    GET "/livez" Livez [];
    GET "/readyz" Readyz [];
    GET "/metrics" Metrics [];
    GET "/openapi.json" OpenApi [];
    POST "/sandbox/clock" SetClock [Ops];
}

/// Times of all calls; what is none of ours is counted too.
pub(crate) fn timers() -> CallTimers {
    CallTimers::new("http", ROUTES.iter().map(|route| route.label).chain([UNMATCHED]))
}

/// A route's place among the timers.
pub(crate) fn timer_of(route: Option<&Route>) -> usize {
    route.map_or(ROUTES.len(), |route| route.call as usize)
}

pub struct Router {
    by_path: matchit::Router<Vec<&'static Route>>,
}

impl Router {
    #[expect(clippy::expect_used, reason = "the table is constant; a test builds it")]
    pub(crate) fn new() -> Self {
        let mut grouped: HashMap<&'static str, Vec<&'static Route>> = HashMap::new();
        for route in ROUTES {
            grouped.entry(route.path).or_default().push(route);
        }
        let mut by_path = matchit::Router::new();
        for (path, routes) in grouped {
            by_path.insert(path, routes).expect("the table of routes is free of conflicts");
        }
        Self { by_path }
    }

    /// The route of a request; HEAD is answered as GET, whose body hyper leaves out.
    pub(crate) fn find<'r, 'p>(
        &'r self,
        method: &Method,
        path: &'p str,
    ) -> Result<(&'static Route, matchit::Params<'r, 'p>), Problem> {
        let Ok(found) = self.by_path.at(path) else {
            return Err(Problem::new(&NOT_FOUND, "No such path. See /openapi.json for all calls."));
        };
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        match found.value.iter().find(|route| route.method == *wanted) {
            Some(route) => Ok((route, found.params)),
            None => Err(Problem::method_not_allowed(&allowed(found.value))),
        }
    }
}

fn allowed(routes: &[&'static Route]) -> Vec<Method> {
    let mut methods: Vec<Method> = routes.iter().map(|route| route.method.clone()).collect();
    if methods.contains(&Method::GET) {
        methods.push(Method::HEAD);
    }
    methods
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::http::OPENAPI;

    #[test]
    fn paths_lead_to_their_calls() {
        let router = Router::new();
        let call =
            |method: Method, path| router.find(&method, path).map(|(route, _)| route.call).map_err(|p| p.status());
        assert_eq!(call(Method::POST, "/v1/authorizations"), Ok(Call::Authorize));
        assert_eq!(call(Method::HEAD, "/v1/codes/cod_1/qr.svg"), Ok(Call::Qr));
        assert_eq!(call(Method::PATCH, "/v1/codes"), Err(405));
        assert_eq!(call(Method::GET, "/v1/code"), Err(404));
        assert_eq!(call(Method::GET, "/v1/customers/1/2"), Err(404));
        assert_eq!(
            allowed(&ROUTES.iter().filter(|r| r.path == "/v1/codes/{code_id}").collect::<Vec<_>>()),
            [Method::GET, Method::DELETE, Method::HEAD]
        );
    }

    #[test]
    fn every_call_has_one_route_and_a_timer_of_its_own() {
        let mut places: Vec<_> = ROUTES.iter().map(|route| timer_of(Some(route))).collect();
        places.push(timer_of(None));
        places.sort_unstable();
        assert_eq!(places, (0..=ROUTES.len()).collect::<Vec<_>>());
    }

    #[test]
    fn staff_calls_are_known() {
        let staff: Vec<_> = ROUTES.iter().filter(|route| route.is_staff_only()).map(|route| route.call).collect();
        use Call::{
            ApplyCredit, Block, BouncePayout, ConfirmPayment, Events, ExpectPayment, GetAccount, GetCredit, GetLadder,
            GetMerchant, GetPoints, Import, ListBlocks, ListCustomers, ListMerchants, ListPayouts, ListPending,
            ListRepayments, ListSuspense, Metrics, PayOut, PostDamages, PutCustomer, PutMerchant, ReleaseBlock,
            ReleaseWriteOff, Repay, ReverseDamages, ReverseRepayment, SetClock, SettleSuspense, Unfreeze, WaiveFee,
            WithdrawPayment, WriteOff,
        };
        let told =
            [PutCustomer, Repay, PostDamages, Block, ReleaseBlock, Unfreeze, PayOut, BouncePayout, ExpectPayment];
        let read = [ListRepayments, ListPending, ListBlocks, GetCredit, GetPoints, GetLadder, GetAccount, ListPayouts];
        let read = read.into_iter().chain([ListSuspense, SettleSuspense]);
        let corrections = [ReverseRepayment, WaiveFee, ReverseDamages, WriteOff, ReleaseWriteOff, ApplyCredit];
        let (before, after) = told.split_at(8);
        let told = before.iter().chain(&corrections).chain(after).copied();
        let office = told.chain([ConfirmPayment, WithdrawPayment]).chain(read);
        assert_eq!(
            staff,
            office
                .chain([Import, PutMerchant, GetMerchant, ListMerchants, ListCustomers])
                .chain([Events, Metrics, SetClock])
                .collect::<Vec<_>>()
        );
    }

    /// Method and path to roles, as the OpenAPI file tells them.
    fn described() -> BTreeMap<(String, String), Vec<String>> {
        let file: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut calls = BTreeMap::new();
        for (path, item) in file["paths"].as_object().unwrap() {
            for (method, call) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
                let roles = call["x-roles"].as_array().unwrap_or_else(|| panic!("{method} {path}: x-roles"));
                let roles: Vec<_> = roles.iter().map(|role| role.as_str().unwrap().to_owned()).collect();
                assert_eq!(call["security"] == serde_json::json!([]), roles.is_empty(), "{method} {path}: security");
                calls.insert((method.to_uppercase(), path.clone()), roles);
            }
        }
        calls
    }

    #[test]
    fn the_openapi_file_describes_exactly_these_calls() {
        let table: BTreeMap<_, _> = ROUTES
            .iter()
            .map(|route| {
                let roles = route.roles.iter().map(|role| role.name().to_owned()).collect();
                ((route.method.to_string(), route.path.to_owned()), roles)
            })
            .collect();
        assert_eq!(table, described());
    }

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_reference_of_the_openapi_file_leads_somewhere() {
        let file: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut found = Vec::new();
        references(&file, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(file.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
        }
    }
}
