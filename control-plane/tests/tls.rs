//! The API over TLS, and a certificate that is renewed while it runs.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Api, with_configured_api};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warp_control_plane::api::tls::{LOOKS, Tls, TlsFiles};

/// A certificate for `localhost` that signs itself; its PEM.
fn certificate(dir: &Path) -> (TlsFiles, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: dir.join("api.crt"), key: dir.join("api.key") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    (files, made.cert.pem())
}

/// The status that a client gets which believes this certificate only.
fn asks(api: &Api, pem: &str) -> Result<u16, String> {
    let root = ureq::tls::Certificate::from_pem(pem.as_bytes()).unwrap();
    let tls =
        ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&[root])).build();
    let agent = ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).proxy(None);
    let agent: ureq::Agent = agent.timeout_global(Some(Duration::from_secs(20))).build().into();
    let url = format!("https://localhost:{}/api/v1/admin/customers", api.control.addr.port());
    let bearer = format!("Bearer {}", api.operator);
    let answer = agent.get(&url).header("Authorization", &bearer).call();
    answer.map(|a| a.status().as_u16()).map_err(|e| e.to_string())
}

#[test]
fn the_api_speaks_tls_and_takes_a_renewed_certificate_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (files, first) = certificate(dir.path());
    let configured = files.clone();
    with_configured_api(
        |config| {
            config.tls = Some(configured);
            config.dev_issuer = None;
            config.edge.head_timeout = Duration::from_millis(300);
        },
        |api| async move {
            let ask = async |pem: &str| {
                let (api, pem) = (api.clone(), pem.to_owned());
                tokio::task::spawn_blocking(move || asks(&api, &pem)).await.unwrap()
            };
            assert_eq!(ask(&first).await, Ok(200));
            let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            assert!(ask(&other.cert.pem()).await.is_err(), "a client that believes another one takes it");
            // Who speaks no TLS gets no HTTP, and who says nothing does not hold a place.
            let plain = api.raw(b"GET /api/v1/health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await;
            assert!(!plain.head.starts_with("HTTP/"), "{}", plain.head);
            let mut silent = tokio::net::TcpStream::connect(api.control.addr).await.unwrap();
            let mut rest = Vec::new();
            let _ = silent.write_all(&[]).await;
            let _ = silent.read_to_end(&mut rest).await;
            assert_eq!(rest, b"", "it was closed");
            // Renewed: the next connection has it. A half of a change leaves the old one.
            let tls = api.control.app.tls.as_ref().unwrap();
            let old_key = std::fs::read(&files.key).unwrap();
            let (_, second) = certificate(dir.path());
            let new_key = std::fs::read(&files.key).unwrap();
            std::fs::write(&files.key, &old_key).unwrap();
            assert!(tls.reload().is_err(), "the key is not that of the certificate");
            assert_eq!(ask(&first).await, Ok(200));
            std::fs::write(&files.key, &new_key).unwrap();
            assert_eq!(tls.reload(), Ok(true));
            assert_eq!(ask(&second).await, Ok(200));
            assert!(ask(&first).await.is_err());
            assert_eq!(tls.reload(), Ok(false), "nothing has changed since");
            assert!(LOOKS <= Duration::from_secs(60));
        },
    );
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (files, pem) = certificate(dir.path());
    let says = |files: TlsFiles| Tls::open(files).err().expect("refused").to_string();
    let gone = TlsFiles { key: dir.path().join("gone"), ..files.clone() };
    assert!(says(gone).contains("gone"));
    std::fs::write(&files.certificate, "no PEM").unwrap();
    assert!(says(files.clone()).contains("api.crt"));
    std::fs::write(&files.certificate, &pem).unwrap();
    std::fs::write(&files.key, &pem).unwrap();
    assert!(says(files).contains("api.key"));
}
