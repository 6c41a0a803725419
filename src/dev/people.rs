//! The demo people: one for each role, of the first customer and of the carrier. The built-in issuer says who they are.

use serde_json::{Value, json};
use warp_control_plane::app::caller::Audience;
use warp_control_plane::app::permission::Role;

use crate::cli::Failure;
use crate::cli::client::Client;
use crate::config::Login;
use crate::config::login::subject_of;

/// Makes those that are missing, of the audiences that have the built-in issuer. It is named by the address of the API: when that
/// has moved, they are bound anew.
pub(super) fn seed(client: &Client, customer: &str, login: &Login, issuer: &str) -> Result<(), Failure> {
    let users = (
        format!("/admin/users?customer={customer}"),
        format!("/admin/customers/{customer}/users"),
        "/admin/users",
    );
    let operators = ("/admin/operators".to_owned(), "/admin/operators".to_owned(), "/admin/operators");
    for (audience, (list, create, one)) in [(Audience::Customer, users), (Audience::Operator, operators)] {
        let other = match audience {
            Audience::Customer => &login.customer_issuer,
            Audience::Operator => &login.operator_issuer,
        };
        if other.is_some() || !login.demo {
            continue;
        }
        let known = client.page(&list)?.items;
        for role in Role::all(audience) {
            let subject = subject_of(role);
            let name = format!("Demo {}", role.as_str().replace('_', " "));
            let body = json!({"name": name, "role": role.as_str(), "subject": subject});
            let old = known.iter().find(|p| p["subject"] == subject.as_str());
            if let Some(old) = old {
                if old["issuer"] == issuer {
                    continue;
                }
                client.delete(&format!("{one}/{}", text(old, "id")))?;
            }
            client.json("POST", &create, &body)?;
        }
    }
    Ok(())
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}
