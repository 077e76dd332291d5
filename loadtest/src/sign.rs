//! Signed requests: HTTP Message Signatures (RFC 9421) with `hmac-sha256`, as the service's `docs/signing.md` wants
//! them from keys that sign.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::bytes::put;

#[derive(Clone)]
pub struct Signer {
    key_id: String,
    keyed: Hmac<Sha256>,
    /// Begin of every nonce of this run.
    run: String,
    /// Shared by all clones: none uses a nonce of another.
    next: Arc<AtomicU64>,
}

/// A request as far as it is signed.
pub struct Signed<'a> {
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// The key, as `Authorization` has it.
    pub bearer: &'a str,
    pub body: &'a [u8],
}

impl Signer {
    pub fn new(key_id: &str, secret: &[u8]) -> Result<Self> {
        let run = format!("{:016x}", rand::random::<u64>());
        Ok(Self { key_id: key_id.to_owned(), keyed: Hmac::new_from_slice(secret)?, run, next: Arc::default() })
    }

    /// With the secret in a file, base64.
    pub fn load(key_id: &str, file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let secret = STANDARD.decode(text.trim()).with_context(|| format!("{}: base64", file.display()))?;
        ensure!(secret.len() >= 32, "{}: a secret has at least 32 bytes", file.display());
        Self::new(key_id, &secret)
    }

    /// Appends the headers of a signature of now, with a nonce of its own.
    pub fn sign(&self, out: &mut Vec<u8>, request: &Signed<'_>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let nonce = format!("{}-{number:x}", self.run);
        self.sign_as(out, request, jiff::Timestamp::now().as_second(), &nonce);
    }

    fn sign_as(&self, out: &mut Vec<u8>, request: &Signed<'_>, created: i64, nonce: &str) {
        let (path, query) =
            request.target.split_once('?').map_or((request.target, None), |(path, query)| (path, Some(query)));
        let mut base = Vec::with_capacity(512);
        put(&mut base, format_args!("\"@method\": {}\n\"@path\": {path}\n", request.method));
        let mut covered = String::from("\"@method\" \"@path\"");
        if let Some(query) = query {
            put(&mut base, format_args!("\"@query\": ?{query}\n"));
            covered.push_str(" \"@query\"");
        }
        put(&mut base, format_args!("\"authorization\": Bearer {}\n", request.bearer));
        covered.push_str(" \"authorization\"");
        if !request.body.is_empty() {
            let digest = STANDARD.encode(Sha256::digest(request.body));
            put(&mut base, format_args!("\"content-digest\": sha-256=:{digest}:\n"));
            put(out, format_args!("Content-Digest: sha-256=:{digest}:\r\n"));
            covered.push_str(" \"content-digest\"");
        }
        let key_id = &self.key_id;
        let input = format!("({covered});created={created};nonce=\"{nonce}\";keyid=\"{key_id}\";alg=\"hmac-sha256\"");
        put(&mut base, format_args!("\"@signature-params\": {input}"));
        let mut mac = self.keyed.clone();
        mac.update(&base);
        let tag = STANDARD.encode(mac.finalize().into_bytes());
        put(out, format_args!("Signature-Input: sig1={input}\r\nSignature: sig1=:{tag}:\r\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_service_comes_out() {
        let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
        let signer = Signer::new("sandbox-signed", &STANDARD.decode(secret).unwrap()).unwrap();
        let body = br#"{"order_id":"R-2001","amount":1980,"customer_id":"1001","channel":"online","merchant":{"id":"mrc_konbini"}}"#;
        let request = Signed { method: "POST", target: "/v1/authorizations", bearer: "sandbox-signed", body };
        let mut out = Vec::new();
        signer.sign_as(&mut out, &request, 1_790_000_000, "MDEyMzQ1Njc4OWFiY2RlZg==");
        // The figures of docs/signing.md, which openssl made.
        let expected = "Content-Digest: sha-256=:QDvCuTQttR+1l9m2PX5IBw0c9+hNGh1T62cfpujL01k=:\r\n\
            Signature-Input: sig1=(\"@method\" \"@path\" \"authorization\" \"content-digest\");created=1790000000;\
            nonce=\"MDEyMzQ1Njc4OWFiY2RlZg==\";keyid=\"sandbox-signed\";alg=\"hmac-sha256\"\r\n\
            Signature: sig1=:EH5jv4aSZIaPAqiQc8XxhkskXTj9uGm7gk0sRKX2ykU=:\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn each_signature_has_a_nonce_of_its_own_and_covers_the_query() {
        let signer = Signer::new("k", &[7; 32]).unwrap();
        let mut lines = Vec::new();
        for _ in 0..2 {
            let mut out = Vec::new();
            signer.sign(&mut out, &Signed { method: "GET", target: "/v1/a?x=1", bearer: "b", body: b"" });
            lines.push(String::from_utf8(out).unwrap());
        }
        assert_ne!(lines[0], lines[1]);
        assert!(lines[0].starts_with("Signature-Input: sig1=(\"@method\" \"@path\" \"@query\" \"authorization\");"));
    }
}
