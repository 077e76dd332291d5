//! A code is not stored as text or picture: after a start it is made again, in the form in which it was shown.

use std::time::Duration;

use serde_json::json;

use super::server::Server;

#[test]
fn codes_of_both_forms_look_the_same_after_a_kill_and_after_a_stop() {
    let data = tempfile::tempdir().expect("a folder");
    let issuers = r#"[{prefix = "90009999"}, {prefix = "90008888", form = "tok19"}]"#;
    // Its clock stands still, so that nothing expires meanwhile.
    let options = ["--sandbox-start", "2026-11-23T17:45:00+09:00"];
    let mut server = Server::sandbox_in(data.path(), &options, &[("SOKKETSU_ISSUER", issuers)]);
    let mut client = server.client();
    let mut shown = Vec::new();
    for (customer, form) in [("2001", "l24"), ("2002", "tok19")] {
        let body = json!({ "customer_id": customer, "form": form });
        let code = client.send("wallet", "POST", "/v1/codes", &body).json();
        let id = code["code_id"].as_str().expect("an id").to_owned();
        shown.push((format!("/v1/codes/{id}/barcode.svg"), String::new()));
        shown.push((format!("/v1/codes/{id}/qr.svg"), String::new()));
    }
    for (path, picture) in &mut shown {
        *picture = client.get("wallet", path).text;
        assert!(picture.starts_with("<svg"), "{picture}");
    }
    // From the journal, then from the ledger, which a clean stop has caught up.
    server.kill();
    server.start_again();
    same(&mut server, &shown);
    server.signal("TERM");
    assert!(server.wait(Duration::from_secs(10)).success());
    server.start_again();
    same(&mut server, &shown);
}

fn same(server: &mut Server, shown: &[(String, String)]) {
    let mut client = server.client();
    for (path, picture) in shown {
        assert!(client.get("wallet", path).text == *picture, "{path} differs");
    }
}
