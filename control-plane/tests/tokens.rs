//! Tokens of people: what an issuer says is believed to the letter, and nothing else is (T-API-02, T-API-03). The issuer here is one
//! that the test leads: it answers what the test wants, and counts how often it is asked.

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Api, with_api, with_configured_api};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::Generate;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warp_control_plane::api::endpoint::Audience;
use warp_control_plane::app::permission::{CustomerRole, OperatorRole, Role};
use warp_control_plane::oidc::issuer::IssuerSettings;
use warp_control_plane::oidc::jwks::KeySet;
use warp_control_plane::oidc::token::{LIVES_S, Refused, key_id, verify};
use warp_model::Wall;

/// An RSA key of an issuer. Making one takes a moment.
struct Rsa {
    signing: EncodingKey,
    n: String,
    e: String,
}

fn rsa_key() -> Rsa {
    let private = rsa::PrivateKey::generate();
    let encoded = |n: &rsa::BoxedUint| URL_SAFE_NO_PAD.encode(n.to_be_bytes_trimmed_vartime());
    Rsa {
        signing: EncodingKey::from_rsa_der(private.to_pkcs1_der().unwrap().as_bytes()),
        n: encoded(private.n()),
        e: encoded(private.e()),
    }
}

static FIRST: LazyLock<Rsa> = LazyLock::new(rsa_key);
static SECOND: LazyLock<Rsa> = LazyLock::new(rsa_key);

impl Rsa {
    fn jwk(&self, kid: &str) -> Value {
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": self.n, "e": self.e })
    }
}

const ISSUER: &str = "https://login.example/";
const OURS: &str = "https://api.warp.example";
const NOW: i64 = 1_800_000_000;

fn now() -> Wall {
    Wall::from_unix_ms(NOW * 1_000)
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "auth0|1", "aud": [OURS, "https://login.example/userinfo"], "iat": NOW - 10, "exp": NOW + 600 })
}

fn head(kid: &str) -> Header {
    let mut head = Header::new(Algorithm::RS256);
    head.kid = Some(kid.to_owned());
    head
}

fn signed(claims: &Value) -> String {
    jsonwebtoken::encode(&head("k1"), claims, &FIRST.signing).unwrap()
}

fn with(changes: Value) -> Value {
    let mut all = claims();
    for (name, value) in changes.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

fn set() -> KeySet {
    let keys = json!({ "keys": [FIRST.jwk("k1")] });
    KeySet::read(keys.to_string().as_bytes()).unwrap()
}

fn judged(token: &str) -> Result<(), Refused> {
    let kid = key_id(token)?;
    let keys = set();
    let key = keys.find(&kid).ok_or(Refused::UnknownKey)?;
    verify(token, key, ISSUER, OURS, now()).map(|_| ())
}

/// A token with any head, signed with any text.
fn pasted(head: Value, claims: &Value, signature: &[u8]) -> String {
    let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
    format!("{}.{}.{}", part(&head), part(claims), URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn t_api_02_the_key_comes_from_the_issuer_and_the_algorithm_from_the_key() {
    assert_eq!(judged(&signed(&claims())), Ok(()));
    let good = signed(&claims());
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    // No signature, and the public key as the secret of an HMAC.
    for alg in ["none", "None", "NONE", "", "HS256", "HS512", "RS512", "PS256", "ES384", "EdDSA"] {
        let token = pasted(json!({ "alg": alg, "kid": "k1" }), &claims(), &[]);
        assert_eq!(judged(&token), Err(Refused::Algorithm), "{alg}");
    }
    for secret in [FIRST.n.clone().into_bytes(), FIRST.jwk("k1").to_string().into_bytes()] {
        let mut confused = Header::new(Algorithm::HS256);
        confused.kid = Some("k1".into());
        let token =
            jsonwebtoken::encode(&confused, &claims(), &EncodingKey::from_secret(&secret).unwrap()).unwrap();
        assert_eq!(judged(&token), Err(Refused::Algorithm));
        // The same bytes under a head that says RS256.
        let hmac = URL_SAFE_NO_PAD.decode(token.rsplit_once('.').unwrap().1).unwrap();
        assert_eq!(
            judged(&pasted(json!({ "alg": "RS256", "kid": "k1" }), &claims(), &hmac)),
            Err(Refused::Signature)
        );
    }
    // A key of RSA signs nothing for ES256.
    assert_eq!(
        judged(&pasted(json!({ "alg": "ES256", "kid": "k1" }), &claims(), &signature)),
        Err(Refused::Signature)
    );
    // Keys that the token brings along.
    for (name, value) in [
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("jwk", SECOND.jwk("k1")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
    ] {
        let mut head = json!({ "alg": "RS256", "kid": "k1" });
        head[name] = value;
        assert_eq!(judged(&pasted(head, &claims(), &signature)), Err(Refused::BringsKeys), "{name}");
    }
    // Ids of keys that are paths, SQL and addresses are ids that nobody has.
    for kid in [
        "",
        "k2",
        "K1",
        " k1",
        "../../dev/null",
        "/etc/passwd",
        "k1' OR '1'='1",
        "https://evil.example/k1",
        "k1\0",
    ] {
        let token = pasted(json!({ "alg": "RS256", "kid": kid }), &claims(), &signature);
        assert_eq!(judged(&token), Err(Refused::UnknownKey), "{kid:?}");
    }
    for kid in [json!(null), json!(1), json!(["k1"]), json!("k".repeat(257))] {
        let token = pasted(json!({ "alg": "RS256", "kid": kid }), &claims(), &signature);
        assert_eq!(judged(&token), Err(Refused::UnknownKey), "{kid}");
    }
    // Somebody else's key, and one bit of the signature.
    let forged = jsonwebtoken::encode(&head("k1"), &claims(), &SECOND.signing).unwrap();
    assert_eq!(judged(&forged), Err(Refused::Signature));
    let mut bent = signature.clone();
    bent[0] ^= 1;
    assert_eq!(judged(&format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(bent))), Err(Refused::Signature));
    let other = with(json!({ "sub": "auth0|admin" }));
    assert_eq!(
        judged(&pasted(json!({ "alg": "RS256", "kid": "k1" }), &other, &signature)),
        Err(Refused::Signature)
    );
    for text in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", &"a".repeat(20_000), &format!("{good}.x")] {
        assert_eq!(judged(text), Err(Refused::Malformed), "{text:.20}");
    }
    assert_eq!(judged(&format!("{}.{}", "A".repeat(17_000), good)), Err(Refused::Malformed));
}

#[test]
fn t_api_03_each_claim_is_required_and_checked() {
    for name in ["iss", "sub", "aud", "exp", "iat"] {
        let mut less = claims();
        less.as_object_mut().unwrap().remove(name);
        assert_eq!(judged(&signed(&less)), Err(Refused::Claims), "without {name}");
    }
    let wrong = |changes: Value, why: Refused| {
        assert_eq!(judged(&signed(&with(changes.clone()))), Err(why), "{changes}");
    };
    for iss in ["https://login.example", "https://evil.example/", "HTTPS://login.example/", ""] {
        wrong(json!({ "iss": iss }), Refused::Issuer);
    }
    for aud in
        [json!("https://api.warp.example/"), json!([]), json!("https://other"), json!(["a", "b"]), json!("")]
    {
        wrong(json!({ "aud": aud }), Refused::Audience);
    }
    for (name, value) in [
        ("exp", json!("1800000600")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("nbf", json!("soon")),
        ("iat", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("s".repeat(257))),
        ("aud", json!(5)),
        ("amr", json!("mfa")),
    ] {
        wrong(json!({ name: value }), Refused::Claims);
    }
    // Thirty seconds of leeway, and an hour at most, whatever the token says of its end.
    for (changes, verdict) in [
        (json!({ "exp": NOW - 29 }), Ok(())),
        (json!({ "exp": NOW - 30 }), Err(Refused::Stale)),
        (json!({ "exp": NOW + 1_000_000, "iat": NOW - LIVES_S }), Ok(())),
        (json!({ "exp": NOW + 1_000_000, "iat": NOW - LIVES_S - 30 }), Err(Refused::Stale)),
        (json!({ "nbf": NOW + 30 }), Ok(())),
        (json!({ "nbf": NOW + 31 }), Err(Refused::Early)),
        (json!({ "iat": NOW + 30 }), Ok(())),
        (json!({ "iat": NOW + 31 }), Err(Refused::Early)),
    ] {
        assert_eq!(judged(&signed(&with(changes.clone()))), verdict, "{changes}");
    }
}

#[test]
fn a_second_factor_is_what_two_kinds_of_methods_say() {
    let shown = |amr: Value, at: Value| {
        let token = signed(&with(json!({ "amr": amr, "auth_time": at })));
        verify(&token, set().find("k1").unwrap(), ISSUER, OURS, now()).unwrap().second_factor_at
    };
    for amr in [json!(["mfa"]), json!(["pwd", "otp"]), json!(["pwd", "hwk"]), json!(["hwk", "fpt"])] {
        assert_eq!(shown(amr.clone(), json!(NOW - 5)), Some(NOW - 5), "{amr}");
    }
    for amr in [
        json!([]),
        json!(["pwd"]),
        json!(["otp"]),
        json!(["pwd", "pin"]),
        json!(["MFA"]),
        json!(["otp", "sms"]),
    ] {
        assert_eq!(shown(amr.clone(), json!(NOW - 5)), None, "{amr}");
    }
    // As Auth0 can say it.
    let token = signed(&with(json!({ "https://warp/amr": ["mfa"], "https://warp/auth_time": NOW - 5 })));
    let of_auth0 = verify(&token, set().find("k1").unwrap(), ISSUER, OURS, now()).unwrap();
    assert_eq!(of_auth0.second_factor_at, Some(NOW - 5));
    assert_eq!(shown(json!(["mfa"]), json!(NOW + 60)), None, "it was shown in the future");
    assert_eq!(shown(json!(["mfa"]), Value::Null), None);
}

#[test]
fn t_api_02_keys_that_are_no_good_are_not_taken() {
    let mut short = FIRST.jwk("short");
    short["n"] = URL_SAFE_NO_PAD.encode(&URL_SAFE_NO_PAD.decode(&FIRST.n).unwrap()[..128]).into();
    let mut encrypts = FIRST.jwk("enc");
    encrypts["use"] = "enc".into();
    let mut other = FIRST.jwk("rs512");
    other["alg"] = "RS512".into();
    let mut nameless = FIRST.jwk("x");
    nameless.as_object_mut().unwrap().remove("kid");
    let keys = json!({ "keys": [
        short, encrypts, other, nameless, FIRST.jwk("twice"), SECOND.jwk("twice"), FIRST.jwk("good"),
        { "kty": "oct", "kid": "oct", "k": "c2VjcmV0" }, { "kty": "EC", "crv": "P-384", "kid": "p384", "x": "AA", "y": "AA" },
        { "kty": "EC", "crv": "P-256", "kid": "off", "x": "AA", "y": "AA" }, 7, null
    ] });
    let set = KeySet::read(keys.to_string().as_bytes()).unwrap();
    for kid in ["short", "enc", "rs512", "", "twice", "oct", "p384"] {
        assert!(set.find(kid).is_none(), "{kid}");
    }
    assert!(set.find("good").is_some());
    for text in ["", "[]", "{}", "{\"keys\":{}}", "null"] {
        assert!(KeySet::read(text.as_bytes()).is_err(), "{text}");
    }
}

/// An issuer that a test leads.
struct Led {
    at: SocketAddr,
    keys: Mutex<Vec<Value>>,
    /// What it calls itself; empty: what it is.
    name: Mutex<String>,
    asked: AtomicUsize,
}

impl Led {
    async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let keys = Mutex::new(vec![FIRST.jwk("k1")]);
        let led = Arc::new(Self { at, keys, name: Mutex::default(), asked: AtomicUsize::new(0) });
        let serving = led.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let led = serving.clone();
                tokio::spawn(async move {
                    let mut bytes = vec![0; 8_192];
                    let n = stream.read(&mut bytes).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&bytes[..n]).into_owned();
                    let body = led.answer(head.split(' ').nth(1).unwrap_or(""));
                    let text = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(text.as_bytes()).await;
                });
            }
        });
        led
    }

    fn issuer(&self) -> String {
        format!("http://{}/", self.at)
    }

    fn answer(&self, path: &str) -> String {
        let at = self.at;
        if path.ends_with("openid-configuration") {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let named = self.name.lock().unwrap().clone();
            let name = if named.is_empty() { self.issuer() } else { named };
            return json!({
                "issuer": name, "jwks_uri": format!("http://{at}/keys"),
                "authorization_endpoint": format!("http://{at}/authorize"), "token_endpoint": format!("http://{at}/token")
            })
            .to_string();
        }
        json!({ "keys": *self.keys.lock().unwrap() }).to_string()
    }

    fn settings(&self, audience: &str) -> IssuerSettings {
        IssuerSettings { issuer: self.issuer(), audience: audience.to_owned(), client: None }
    }

    /// A token of this issuer that is in force now.
    fn token(&self, kid: &str, key: &Rsa, changes: Value) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let mut all =
            json!({ "iss": self.issuer(), "sub": "ada", "aud": "operators", "iat": now, "exp": now + 600 });
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        jsonwebtoken::encode(&head(kid), &all, &key.signing).unwrap()
    }
}

/// A test with an issuer of its own for both audiences.
fn with_led<F, Fut>(test: F)
where
    F: FnOnce(Arc<Api>, Arc<Led>) -> Fut,
    Fut: Future<Output = ()>,
{
    // The issuer must be there before the API, and lives on its own thread.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let led = runtime.block_on(Led::start());
    let issuer = led.clone();
    with_configured_api(
        move |config| {
            config.dev_issuer = None;
            config.customer_issuer = Some(issuer.settings("customers"));
            config.operator_issuer = Some(issuer.settings("operators"));
        },
        |api| test(api, led),
    );
}

#[test]
fn t_api_02_a_token_of_another_makes_401_and_nothing_else() {
    with_led(|api, led| async move {
        let body = json!({ "name": "Ada", "role": "noc", "subject": "ada" });
        api.op("POST", "/operators", Some(body)).await.data();
        let asks = async |token: &str| api.call(token, "GET", "/api/v1/admin/customers", None).await;
        let good = led.token("k1", &FIRST, json!({}));
        assert_eq!(asks(&good).await.status, 200);
        let claims = json!({ "iss": led.issuer(), "sub": "ada", "aud": "operators", "iat": 1, "exp": 4_000_000_000u64 });
        for (what, token) in [
            ("none", pasted(json!({ "alg": "none", "kid": "k1" }), &claims, &[])),
            ("forged", led.token("k1", &SECOND, json!({}))),
            ("stale", led.token("k1", &FIRST, json!({ "exp": 1_000_000_000 }))),
            ("for customers", led.token("k1", &FIRST, json!({ "aud": "customers" }))),
            ("of another issuer", led.token("k1", &FIRST, json!({ "iss": "https://evil.example/" }))),
            ("of nobody here", led.token("k1", &FIRST, json!({ "sub": "eve" }))),
            ("opaque", "wFj3kQ0y.opaque.token".to_owned()),
        ] {
            let r = asks(&token).await;
            assert_eq!((r.status, r.code().as_str()), (401, "unauthorized"), "{what}: {}", r.body);
            assert!(r.header("www-authenticate").unwrap().contains("invalid_token"));
            let told = r.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(told.starts_with("send a valid API key or access token"), "{what}: {told}");
        }
        // The customers' API does not take it either.
        assert_eq!(api.call(&good, "GET", "/api/v1/trunks", None).await.status, 401);
        let shown = api.control.registry().render();
        for reason in ["algorithm", "signature", "stale", "audience", "issuer"] {
            let line = format!("warp_tokens_refused_total{{reason=\"{reason}\"}} ");
            let count = shown.lines().find_map(|l| l.strip_prefix(&line)).unwrap();
            assert_ne!(count, "0", "{reason}");
        }
    });
}

#[test]
fn t_api_02_an_unknown_key_is_asked_for_once_a_minute_and_no_more() {
    with_led(|api, led| async move {
        let body = json!({ "name": "Ada", "role": "noc", "subject": "ada" });
        api.op("POST", "/operators", Some(body)).await.data();
        let asks = async |token: &str| api.call(token, "GET", "/api/v1/admin/customers", None).await.status;
        for i in 0..5 {
            assert_eq!(asks(&led.token(&format!("unknown{i}"), &FIRST, json!({}))).await, 401);
        }
        assert_eq!(asks(&led.token("k1", &FIRST, json!({}))).await, 200);
        assert_eq!(led.asked.load(Ordering::Relaxed), 1, "by the first one; the others were within a minute");
        // The issuer has a new key; by the clock of the issuer's cache a minute and more has passed.
        led.keys.lock().unwrap().push(SECOND.jwk("k2"));
        let issuer = api.control.app.issuers.of(Audience::Operator).unwrap();
        let later = |s: u64| warp_model::Mono(api.control.app.mono().0 + s * 1_000_000_000);
        assert!(issuer.key("k2", later(59)).await.unwrap().is_none(), "not within a minute");
        assert!(issuer.key("k2", later(61)).await.unwrap().is_some());
        assert_eq!(led.asked.load(Ordering::Relaxed), 2);
        // One that was taken back ends when the keys are read again.
        led.keys.lock().unwrap().remove(0);
        assert!(issuer.key("k1", later(70)).await.unwrap().is_some(), "read a moment ago");
        let gone = common::eventually("k1 ends", || async {
            issuer.key("k1", later(800)).await.unwrap().is_none().then_some(())
        });
        gone.await;
        // An issuer that calls itself otherwise is not believed: the known keys stay, for a day.
        *led.name.lock().unwrap() = "https://evil.example/".to_owned();
        led.keys.lock().unwrap().push(FIRST.jwk("k3"));
        assert!(issuer.key("k3", later(2_000)).await.unwrap().is_none());
        assert!(issuer.key("k2", later(3_000)).await.unwrap().is_some());
        assert!(issuer.key("k2", later(100_000)).await.is_err(), "nothing is known for a day");
    });
}

#[test]
fn a_user_comes_in_by_the_code_flow_and_sees_its_own_customer_only() {
    with_api(|api| async move {
        let (mine, key) = api.customer("Mine").await;
        let (other, _) = api.customer("Other").await;
        let (id, token) = api.person(Role::Customer(CustomerRole::Engineer), Some(&mine)).await;
        assert_eq!(api.call(&token, "GET", "/api/v1/customer", None).await.data()["id"], mine.as_str());
        let made = api.call(&token, "POST", "/api/v1/trunks", Some(json!({ "name": "t" }))).await.data();
        assert_eq!(made["customer_id"], mine.as_str());
        let audit = api.op("GET", "/audit", None).await.data();
        assert_eq!(audit[0]["actor"], id.as_str(), "the audit log names the person");
        assert_eq!(api.call(&token, "GET", "/api/v1/admin/customers", None).await.status, 401);
        let seen = api.call(&key, "GET", &format!("/api/v1/users/{id}"), None).await.data();
        assert!(seen["last_seen_at"].is_string() && seen["version"] == 1, "{seen}");
        // A role that is taken away is away with the next request, whatever the token says.
        let path = format!("/api/v1/users/{id}");
        api.call(&key, "PATCH", &path, Some(json!({ "role": "read_only" }))).await.data();
        assert_eq!(
            api.call(&token, "POST", "/api/v1/trunks", Some(json!({ "name": "u" }))).await.status,
            403
        );
        api.call(&key, "PATCH", &path, Some(json!({ "status": "disabled" }))).await.data();
        assert_eq!(api.call(&token, "GET", "/api/v1/trunks", None).await.status, 401);
        api.call(&key, "PATCH", &path, Some(json!({ "status": "active" }))).await.data();
        api.op("PATCH", &format!("/customers/{mine}"), Some(json!({ "status": "suspended" }))).await.data();
        assert_eq!(api.call(&token, "GET", "/api/v1/trunks", None).await.status, 401);
        // Another customer may bind the same subject and hears nothing; the first binding counts.
        let taken = json!({ "name": "x", "role": "owner", "subject": "customer-engineer" });
        api.op("POST", &format!("/customers/{other}/users"), Some(taken)).await.data();
        api.op("PATCH", &format!("/customers/{mine}"), Some(json!({ "status": "active" }))).await.data();
        assert_eq!(api.call(&token, "GET", "/api/v1/customer", None).await.data()["id"], mine.as_str());
    });
}

#[test]
fn t_api_05_nobody_gives_a_role_that_may_more_than_himself() {
    with_api(|api| async move {
        let (mine, _) = api.customer("Mine").await;
        let (_, admin) = api.person(Role::Customer(CustomerRole::Admin), Some(&mine)).await;
        let (owner, _) = api.person(Role::Customer(CustomerRole::Owner), Some(&mine)).await;
        let users = "/api/v1/users";
        let body = |role: &str| Some(json!({ "name": "n", "role": role, "subject": format!("s-{role}") }));
        assert_eq!(api.call(&admin, "POST", users, body("owner")).await.status, 403);
        let made = api.call(&admin, "POST", users, body("billing")).await.data();
        let path = format!("{users}/{}", made["id"].as_str().unwrap());
        assert_eq!(api.call(&admin, "PATCH", &path, Some(json!({ "role": "owner" }))).await.status, 403);
        assert_eq!(api.call(&admin, "PATCH", &path, Some(json!({ "role": "engineer" }))).await.status, 200);
        let path = format!("{users}/{owner}");
        assert_eq!(api.call(&admin, "PATCH", &path, Some(json!({ "status": "disabled" }))).await.status, 403);
        assert_eq!(api.call(&admin, "DELETE", &path, None).await.status, 403);
        // The same of the carrier's people.
        let key = api.op("POST", "/keys", Some(json!({ "name": "clerk", "scopes": ["users:write"] }))).await;
        assert_eq!(key.status, 201);
        let (_, support) = api.person(Role::Operator(OperatorRole::Support), None).await;
        let r = api.call(&support, "POST", "/api/v1/admin/operators", body("admin")).await;
        assert_eq!(r.status, 403);
    });
}

#[test]
fn t_api_05_keys_users_and_money_want_a_second_factor_of_a_short_while_ago() {
    with_api(|api| async move {
        let (customer, plain_key) = api.customer("Mine").await;
        let (_, token) = api.person(Role::Customer(CustomerRole::Owner), Some(&customer)).await;
        let weak = api.sign_in(Audience::Customer, "customer-owner", "&acr_values=pwd").await;
        let keys = "/api/v1/keys";
        let new = |name: &str| Some(json!({ "name": name, "scopes": ["calls:read"] }));
        let r = api.call(&weak, "POST", keys, new("a")).await;
        assert_eq!((r.status, r.code().as_str()), (401, "step_up_required"), "{}", r.body);
        let told = r.header("www-authenticate").unwrap();
        assert!(told.contains("insufficient_user_authentication") && told.contains("max_age=900"), "{told}");
        assert_eq!(api.call(&weak, "GET", keys, None).await.status, 200, "looking needs none");
        assert_eq!(api.call(&token, "POST", keys, new("b")).await.status, 201);
        // A key needs the scope, which only such a person grants, and only to a key that is bound to addresses.
        let alone = |ips: Value| {
            Some(json!({ "name": "c", "scopes": ["keys:write", "sensitive:unattended"], "ip_allow": ips }))
        };
        assert_eq!(
            api.call(&plain_key, "POST", keys, alone(json!(["127.0.0.1"]))).await.status,
            403,
            "no key grants it"
        );
        let r = api.call(&token, "POST", keys, alone(json!([]))).await;
        assert_eq!((r.status, r.json()["error"]["field"].as_str()), (422, Some("ip_allow")), "{}", r.body);
        let made = api.call(&token, "POST", keys, alone(json!(["127.0.0.1"]))).await.data();
        let strong = made["secret"].as_str().unwrap();
        let small = Some(json!({ "name": "d", "scopes": ["keys:write"], "ip_allow": ["127.0.0.1"] }));
        assert_eq!(api.call(strong, "POST", keys, small.clone()).await.status, 201);
        let all = api
            .call(&token, "POST", keys, Some(json!({ "name": "all", "ip_allow": ["127.0.0.1"] })))
            .await
            .data();
        let r = api.call(all["secret"].as_str().unwrap(), "POST", keys, small).await;
        assert_eq!((r.status, r.code().as_str()), (403, "forbidden"), "* is without it: {}", r.body);
        // Money of the carrier.
        let (_, _) = api.person(Role::Operator(OperatorRole::Billing), None).await;
        let weak = api.sign_in(Audience::Operator, "operator-billing", "&acr_values=pwd").await;
        for e in &api.control.app.endpoints {
            let warp_control_plane::api::endpoint::Access::Scope(Audience::Operator, p) = e.access else {
                continue;
            };
            if p.as_str() == "ledger:write" {
                let path = e.path.replace("{ban_id}", "ban_00000000000000000000000000");
                let r = api.call(&weak, e.method.as_str(), &path, Some(json!({}))).await;
                assert_eq!((r.status, r.code().as_str()), (401, "step_up_required"), "{path}: {}", r.body);
            }
        }
    });
}
