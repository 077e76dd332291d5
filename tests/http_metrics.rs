//! The metrics page. Alone in its process: the recorder must be there before anything is counted.

mod http_support;

use http_support::{House, Plan};
use sokketsu::http::Options;

const OFFICE: &str = "sandbox-office";
const OPS: &str = "sandbox-ops";

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_calls_and_stages_but_no_person() {
    let metrics = Some(sokketsu::metrics::install().unwrap());
    let options = Options { open_metrics: false, ..Options::default() };
    let house = House::open(Plan { metrics, options, ..Plan::default() });
    let mut client = house.client().await;
    client.buy("2019", "M-1", 100).await;
    assert_eq!(client.get("/metrics", "").await.problem().0, 401, "not on loopback and without an admin address");
    assert_eq!(client.get("/metrics", OFFICE).await.problem().0, 403);
    let page = client.get("/metrics", OPS).await.text();
    for series in [
        r#"sokketsu_stage_seconds_count{stage="answer"}"#,
        r#"sokketsu_request_seconds_count{interface="http",call="POST /v1/authorizations"}"#,
        "sokketsu_inbox_depth",
        r#"sokketsu_advices_total{outcome="posted"} 0"#,
        r#"sokketsu_advices_total{outcome="over_limit"} 0"#,
        r#"sokketsu_advices_total{outcome="suspense"} 0"#,
        "sokketsu_suspense_yen 0",
    ] {
        assert!(page.contains(series), "{series} is missing in {page}");
    }
    assert!(!page.contains("2019\"") && !page.contains("M-1"));
}
