//! Who may do what: every endpoint with every role, and the page that says so.

mod common;

use common::{Api, with_configured_api};
use serde_json::json;
use warp_control_plane::api::endpoint::{Access, Audience, Endpoint};
use warp_control_plane::api::limiter::Limit;
use warp_control_plane::app::permission::{CustomerRole, OperatorRole, Permission, Role};

/// Each role meets each endpoint of its audience. What the role has not is 403, what it has is neither 401 nor 403: the edge
/// asks for the permission that is declared, and for nothing else.
#[test]
fn t_api_05_each_role_opens_the_endpoints_that_it_has_and_no_other() {
    with_configured_api(generous, |api| async move {
        let (customer, _) = api.customer("Acme").await;
        let (mut opened, mut refused) = (0, 0);
        for role in roles() {
            let of = (role.audience() == Audience::Customer).then_some(customer.as_str());
            let (_, token) = api.person(role, of).await;
            for e in of_audience(&api, role.audience()) {
                let Access::Scope(_, permission) = e.access else { unreachable!() };
                let path = e.path.replace("{customer_id}", &customer);
                let path = path.split('/').map(|p| if p.starts_with('{') { NOBODY } else { p });
                let path = path.collect::<Vec<_>>().join("/");
                let answer = api.call(&token, e.method.as_str(), &path, Some(json!({}))).await;
                let what = format!("{:?} {} {path}: {}", role, e.method, answer.body);
                if permission.is_of(role) {
                    assert!(![401, 403].contains(&answer.status), "{what}");
                    opened += 1;
                } else {
                    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{what}");
                    refused += 1;
                }
            }
        }
        assert!(opened > 100 && refused > 100, "{opened} opened, {refused} refused");
    });
}

/// No permission is declared that no endpoint asks for, and an endpoint that changes something is not opened by a permission to
/// read, but for those that only compute.
#[test]
fn each_permission_opens_something_and_those_to_read_change_nothing() {
    let all = warp_control_plane::api::endpoints();
    for permission in Permission::ALL {
        let named = |e: &&Endpoint| matches!(e.access, Access::Scope(_, p) if p == *permission);
        let opens = *permission != Permission::SensitiveUnattended;
        assert_eq!(all.iter().any(|e| named(&e)), opens, "{}", permission.as_str());
        for e in all.iter().filter(named) {
            let computes =
                e.path.ends_with("/check") || e.path.ends_with("/replay") || e.path.ends_with("/route");
            let reads = permission.as_str().ends_with(":read");
            assert!(!reads || e.method == "GET" || computes, "{} {}", e.method, e.path);
        }
    }
}

/// docs/reference/permissions.md is the table of the code.
#[test]
fn the_page_of_permissions_is_that_of_the_code() {
    let mut text = String::from(
        "# Permissions and roles\n\nMade from the code and compared by a test. Each endpoint asks for one permission; the OpenAPI \
         documents name it. A scope of an API key is the word of a permission, or `*` for everything of its audience. A user has what \
         its role has.\n",
    );
    for (title, audience) in [("Customers", Audience::Customer), ("Operators", Audience::Operator)] {
        let roles: Vec<Role> = Role::all(audience).collect();
        let words: Vec<String> = roles.iter().map(|r| format!("`{}`", r.as_str())).collect();
        text.push_str(&format!("\n## {title}\n\n| permission | what it allows | {} |\n", words.join(" | ")));
        text.push_str(&format!("| --- | --- |{}\n", " --- |".repeat(roles.len())));
        for p in Permission::ALL.iter().filter(|p| roles.iter().any(|r| p.is_of(*r))) {
            let held: Vec<&str> = roles.iter().map(|r| if p.is_of(*r) { "yes" } else { "" }).collect();
            text.push_str(&format!("| `{}` | {} | {} |\n", p.as_str(), p.meaning(), held.join(" | ")));
        }
    }
    text.push_str(
        "\n## Parts\n\nA permission that was split still has its parts, so that keys of before go on.\n\n",
    );
    for p in Permission::ALL.iter().filter(|p| !p.includes().is_empty()) {
        let parts: Vec<String> = p.includes().iter().map(|p| format!("`{}`", p.as_str())).collect();
        text.push_str(&format!("- `{}` includes {}.\n", p.as_str(), parts.join(" and ")));
    }
    let path = format!("{}/../docs/reference/permissions.md", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("WARP_WRITE_OPENAPI").is_ok() {
        std::fs::write(&path, &text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == text,
        "docs/reference/permissions.md is not what the code says: run with WARP_WRITE_OPENAPI=1"
    );
}

/// An id that nothing has, of no kind.
const NOBODY: &str = "trk_00000000000000000000000000";

fn roles() -> impl Iterator<Item = Role> {
    assert_eq!((CustomerRole::WORDS.len(), OperatorRole::WORDS.len()), (5, 6));
    Role::all(Audience::Customer).chain(Role::all(Audience::Operator))
}

fn of_audience(api: &Api, audience: Audience) -> impl Iterator<Item = &Endpoint> {
    let all = api.control.app.endpoints.iter();
    all.filter(move |e| matches!(e.access, Access::Scope(a, _) if a == audience))
}

fn generous(config: &mut warp_control_plane::Config) {
    let all = Limit { per_second: 100_000, burst: 100_000 };
    let e = &mut config.edge;
    (e.key_limit, e.customer_limit, e.address_limit) = (all, all, all);
}
