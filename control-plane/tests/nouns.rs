//! Lists of nouns that are declared once (RFC 0013): sorts, filters and cursors are those of the declaration, for each audience.
mod common;

use common::{Api, Reply, with_api};
use serde_json::{Value, json};
use warp_control_plane::api::endpoint::{Access, Audience, Caller, Reply as Answered, Request};
use warp_control_plane::api::openapi;
use warp_control_plane::app::Expected;
use warp_control_plane::app::caller::Who;
use warp_control_plane::app::permission::Permissions;
use warp_control_plane::noun::{self, Noun, Verb};
use warp_control_plane::store::Scope;

/// The names of a list, page by page.
async fn names(api: &Api, key: &str, path: &str) -> Vec<String> {
    let (mut out, mut at) = (Vec::new(), path.to_owned());
    loop {
        let r = api.call(key, "GET", &at, None).await;
        assert_eq!(r.status, 200, "{at}: {}", r.body);
        let page = r.json();
        out.extend(page["data"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()));
        match page["meta"]["next_cursor"].as_str() {
            Some(cursor) => at = format!("{path}&cursor={cursor}"),
            None => return out,
        }
    }
}

/// Makes trunks of these names; gives their ids.
async fn trunks<const N: usize>(api: &Api, key: &str, names: [&str; N]) -> [String; N] {
    let mut ids = Vec::new();
    for name in names {
        let made = api.call(key, "POST", "/api/v1/trunks", Some(json!({ "name": name }))).await.data();
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    ids.try_into().unwrap()
}

/// All trunks were changed at one moment, as by one statement.
async fn changed_together(api: &Api) {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    tx.run(sqlx::query("UPDATE trunks SET updated_at = now()")).await.unwrap();
    tx.commit().await.unwrap();
}

#[test]
fn a_list_is_sorted_by_each_declared_sort_both_ways_and_equal_values_by_id() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let [a, b, ..] = trunks(&api, &key, ["a", "b", "c", "d"]).await;
        changed_together(&api).await;
        let by = async |sort: &str| names(&api, &key, &format!("/api/v1/trunks?limit=1&sort={sort}")).await;
        assert_eq!(by("updated_at").await, ["a", "b", "c", "d"], "of one moment: by id");
        assert_eq!(by("-updated_at").await, ["d", "c", "b", "a"]);
        for id in [&b, &a] {
            let patch = json!({ "channels": 3 });
            api.call(&key, "PATCH", &format!("/api/v1/trunks/{id}"), Some(patch)).await.data();
        }
        assert_eq!(by("updated_at").await, ["c", "d", "b", "a"]);
        assert_eq!(by("-updated_at").await, ["a", "b", "d", "c"]);
        assert_eq!(by("created_at").await, ["a", "b", "c", "d"]);
        // Operators have one sort more: customer by customer.
        let (_, other) = api.customer("Other").await;
        trunks(&api, &other, ["x", "y"]).await;
        trunks(&api, &key, ["e"]).await;
        let of_all = async |sort: &str| {
            names(&api, &api.operator, &format!("/api/v1/admin/trunks?limit=2&sort={sort}")).await
        };
        assert_eq!(of_all("customer_id").await, ["a", "b", "c", "d", "e", "x", "y"]);
        assert_eq!(of_all("-customer_id").await, ["y", "x", "e", "d", "c", "b", "a"]);
        assert_eq!(of_all("created_at").await, ["a", "b", "c", "d", "x", "y", "e"]);
        let r = api.call(&key, "GET", "/api/v1/trunks?sort=customer_id", None).await;
        assert_eq!((r.status, r.code().as_str()), (400, "invalid_query"), "a customer has no such sort");
    });
}

/// A cursor carries the name, whatever stands in it; names that are equal stand by id.
#[test]
fn a_list_by_name_goes_on_whatever_stands_in_the_names() {
    with_api(|api| async move {
        let longest = "\u{1f600}".repeat(100);
        let all = ["b", "a.b.c", "a", "Ä + ~ & % / ?", "a", "x'; DROP TABLE customers; --", &longest];
        let mut ids = Vec::new();
        for name in all {
            ids.push(api.op("POST", "/customers", Some(json!({ "name": name }))).await.data()["id"].clone());
        }
        let walk = async |sort: &str| {
            let path = format!("/api/v1/admin/customers?limit=1&sort={sort}");
            let (mut at, mut seen) = (path.clone(), Vec::new());
            loop {
                let r = api.call(&api.operator, "GET", &at, None).await;
                assert_eq!(r.status, 200, "{at}: {}", r.body);
                seen.push((r.data()[0]["name"].clone(), r.data()[0]["id"].clone()));
                assert!(seen.len() <= all.len(), "it goes on for ever: {at}");
                match r.json()["meta"]["next_cursor"].as_str() {
                    Some(cursor) => at = format!("{path}&cursor={cursor}"),
                    None => return seen,
                }
            }
        };
        let forward = walk("name").await;
        assert_eq!(forward.len(), all.len(), "each once: {forward:?}");
        let equal: Vec<&Value> = forward.iter().filter(|(n, _)| n == "a").map(|(_, id)| id).collect();
        assert_eq!(equal, [&ids[2], &ids[4]], "equal names by id");
        let mut backward = walk("-name").await;
        backward.reverse();
        assert_eq!(forward, backward);
        // A cursor that nobody gave out is no way to a server error.
        for text in ["", "00", "ff", "c3"] {
            let at = format!("/customers?sort=name&cursor=name.{text}.{}", ids[0].as_str().unwrap());
            assert_eq!(api.op("GET", &at, None).await.status, 200, "{text}");
        }
        let odd = format!("/customers?sort=name&cursor=name.abc.{}", ids[0].as_str().unwrap());
        assert_eq!(api.op("GET", &odd, None).await.code(), "invalid_cursor");
    });
}

/// An exclusion can be made longer or shorter; one that is over keeps its end, and nobody ends one in the past.
#[test]
fn an_exclusion_is_changed_and_ends_after_its_start() {
    with_api(|api| async move {
        let body = real(&api, (noun::exclusion::EXCLUSION.examples.made)()).await;
        let made = api.op("POST", "/exclusions", Some(body.clone())).await.data();
        let one = format!("/exclusions/{}", made["id"].as_str().unwrap());
        let shorter = json!({ "ends_at": "2050-01-01T00:00:00Z" });
        let shorter = api.op("PATCH", &one, Some(shorter)).await.data();
        assert_eq!(
            (&shorter["ends_at"], &shorter["version"]),
            (&json!("2050-01-01T00:00:00.000Z"), &json!(2))
        );
        for wrong in [
            json!({ "ends_at": "2020-01-01T00:00:00Z" }),
            json!({ "ends_at": null }),
            json!({ "kind": "permanent" }),
            json!({ "starts_at": "2060-01-01T00:00:00Z" }),
        ] {
            let r = api.op("PATCH", &one, Some(wrong.clone())).await;
            assert_eq!(
                (r.status, &r.json()["error"]["field"]),
                (422, &json!("ends_at")),
                "{wrong}: {}",
                r.body
            );
        }
        let nobody = json!({ "vendor_id": "vnd_00000000000000000000000001" });
        assert_eq!(api.op("PATCH", &one, Some(nobody)).await.json()["error"]["field"], "vendor_id");
        // Time goes by.
        let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
        let over =
            "UPDATE exclusions SET starts_at = now() - interval '2 days', ends_at = now() - interval '1 day'";
        tx.run(sqlx::query(over)).await.unwrap();
        tx.commit().await.unwrap();
        let reason = api.op("PATCH", &one, Some(json!({ "reason": "it was their SBC" }))).await;
        assert_eq!(reason.status, 200, "{}", reason.body);
    });
}

#[test]
fn a_page_goes_on_where_it_was_when_its_last_row_has_changed_or_is_gone() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        let [a, b, ..] = trunks(&api, &key, ["a", "b", "c", "d"]).await;
        let path = "/api/v1/trunks?limit=1&sort=updated_at";
        let page = async |cursor: &Value| {
            let at = format!("{path}&cursor={}", cursor.as_str().unwrap());
            let page = api.call(&key, "GET", &at, None).await.json();
            (page["data"][0]["name"].as_str().unwrap().to_owned(), page["meta"]["next_cursor"].clone())
        };
        let first = api.call(&key, "GET", path, None).await.json();
        assert_eq!(first["data"][0]["name"], "a");
        // The last row seen is now the one that was changed last …
        let patch = Some(json!({ "cps": 1 }));
        api.call(&key, "PATCH", &format!("/api/v1/trunks/{a}"), patch).await.data();
        let (name, next) = page(&first["meta"]["next_cursor"]).await;
        assert_eq!(name, "b");
        // … and this one is there no more.
        assert_eq!(api.call(&key, "DELETE", &format!("/api/v1/trunks/{b}"), None).await.status, 200);
        let (name, next) = page(&next).await;
        assert_eq!(name, "c");
        assert_eq!(page(&next).await.0, "d");
    });
}

#[test]
fn a_cursor_of_another_sort_or_of_an_operators_sort_is_refused() {
    with_api(|api| async move {
        let (_, key) = api.customer("Acme").await;
        trunks(&api, &key, ["a", "b"]).await;
        let cursor = async |key: &str, path: &str| {
            let page = api.call(key, "GET", path, None).await.json();
            page["meta"]["next_cursor"].as_str().unwrap().to_owned()
        };
        let by_id = cursor(&key, "/api/v1/trunks?limit=1").await;
        let by_time = cursor(&key, "/api/v1/trunks?limit=1&sort=updated_at").await;
        let by_customer = cursor(&api.operator, "/api/v1/admin/trunks?limit=1&sort=customer_id").await;
        assert!(by_id.starts_with("trk_"), "cursors of before go on: {by_id}");
        for (sort, cursor) in [("created_at", &by_time), ("updated_at", &by_id), ("-updated_at", &by_id)] {
            let at = format!("/api/v1/trunks?sort={sort}&cursor={cursor}");
            let r = api.call(&key, "GET", &at, None).await;
            let error = r.json()["error"].clone();
            assert_eq!((r.status, &error["field"]), (422, &json!("cursor")), "{at}: {}", r.body);
            assert_eq!(error["details"][0]["code"], "contradicts");
        }
        let r = api.call(&key, "GET", &format!("/api/v1/trunks?cursor={by_customer}"), None).await;
        assert_eq!((r.status, r.code().as_str()), (400, "invalid_cursor"));
    });
}

#[test]
fn filters_are_those_of_the_declaration_for_each_audience() {
    with_api(|api| async move {
        let (acme, key) = api.customer("Acme").await;
        let (other, other_key) = api.customer("Other").await;
        let ban =
            api.op("POST", &format!("/customers/{acme}/bans"), Some(json!({ "name": "b" }))).await.data();
        let partition = api.op("POST", "/partitions", Some(json!({ "name": "p" }))).await.data();
        let (ban, partition) = (ban["id"].as_str().unwrap(), partition["id"].as_str().unwrap());
        let [a, b, _] = trunks(&api, &key, ["a", "b", "c"]).await;
        trunks(&api, &other_key, ["a"]).await;
        for (id, patch) in
            [(&a, json!({ "ban_id": ban, "partition_id": partition })), (&b, json!({ "ban_id": ban }))]
        {
            api.op("PATCH", &format!("/trunks/{id}"), Some(patch)).await.data();
        }
        let of_all = async |query: &str| {
            names(&api, &api.operator, &format!("/api/v1/admin/trunks?limit=1&{query}")).await
        };
        let own =
            async |key: &str, query: &str| names(&api, key, &format!("/api/v1/trunks?limit=1&{query}")).await;
        assert_eq!(of_all("name=a").await, ["a", "a"]);
        assert_eq!(of_all(&format!("name=a&customer={other}")).await, ["a"]);
        assert_eq!(of_all(&format!("customer={acme}&sort=-updated_at")).await, ["b", "a", "c"]);
        assert_eq!(of_all(&format!("partition={partition}")).await, ["a"]);
        assert_eq!(of_all(&format!("ban={ban}&name=b")).await, ["b"]);
        assert_eq!(own(&key, &format!("ban={ban}&sort=created_at")).await, ["a", "b"]);
        assert_eq!(own(&key, "name=c").await, ["c"]);
        // What is another's looks as if it did not exist.
        assert_eq!(own(&other_key, &format!("ban={ban}")).await, Vec::<String>::new());
        for query in [format!("customer={acme}"), format!("partition={partition}")] {
            let r = api.call(&other_key, "GET", &format!("/api/v1/trunks?{query}"), None).await;
            assert_eq!((r.status, r.code().as_str()), (400, "invalid_query"), "{query}");
        }
        let two = api.op("GET", "/trunks?customer=x&ban=y&name=%20", None).await;
        let details = two.json()["error"]["details"].clone();
        assert_eq!((two.status, details.as_array().unwrap().len()), (422, 3), "{details}");
    });
}

/// Makes the example of a noun with a key; the answer.
async fn made(api: &Api, noun: &Noun, audience: Audience, parent: &str, key: &str) -> Reply {
    let path = match audience {
        Audience::Customer => noun.paths.own_list.to_owned(),
        Audience::Operator => made_at(noun, parent),
    };
    let key = if audience == Audience::Operator { &api.operator } else { key };
    api.call(key, "POST", &path, Some(real(api, (noun.examples.made)()).await)).await
}

/// The same with another name.
async fn another(api: &Api, noun: &Noun, audience: Audience, parent: &str, key: &str) -> Reply {
    let mut body = real(api, (noun.examples.made)()).await;
    let (field, value) =
        if body["recipient"].is_string() { ("recipient", "+14155550125") } else { ("name", "another") };
    body[field] = json!(value);
    common::renamed(&mut body, &["subject", "system_id"]);
    match audience {
        Audience::Customer => api.call(key, "POST", noun.paths.own_list, Some(body)).await,
        Audience::Operator => api.call(&api.operator, "POST", &made_at(noun, parent), Some(body)).await,
    }
}

/// The example with ids of objects that are there, where it names others.
async fn real(api: &Api, mut body: Value) -> Value {
    if body["vendor_id"].is_string() {
        body["vendor_id"] = a_vendor(api).await.into();
    }
    if body["partition_id"].is_string() {
        body["partition_id"] = a_partition(api).await.into();
    }
    common::with_targets(api, &mut body, &a_vendor(api).await).await;
    body
}

/// The id of a vendor, which is made when there is none.
async fn a_vendor(api: &Api) -> String {
    let id = |vendor: &Value| vendor["id"].as_str().map(str::to_owned);
    if let Some(id) = id(&api.op("GET", "/vendors?slug=acme", None).await.data()[0]) {
        return id;
    }
    let made = api.op("POST", "/vendors", Some(json!({ "slug": "acme", "name": "Acme" }))).await.data();
    id(&made).unwrap()
}

/// The same of a partition.
async fn a_partition(api: &Api) -> String {
    let id = |partition: &Value| partition["id"].as_str().map(str::to_owned);
    if let Some(id) = id(&api.op("GET", "/partitions?name=west", None).await.data()[0]) {
        return id;
    }
    id(&api.op("POST", "/partitions", Some(json!({ "name": "west" }))).await.data()).unwrap()
}

fn made_at(noun: &Noun, parent: &str) -> String {
    let named = noun.parent.as_ref().map_or("", |p| p.id);
    noun.paths.made_at.replace(&format!("{{{named}}}"), parent)
}

/// Something that an object can belong to, and a customer's key: the customer's own, when that is what it belongs to.
async fn parent(api: &Api, noun: &Noun, name: &str) -> (String, String) {
    let (customer, key) = api.customer(name).await;
    match noun.parent.as_ref().map(|p| p.many) {
        None => (String::new(), key),
        Some("customers") => (customer, key),
        Some("vendors") => (a_vendor(api).await, key),
        Some(other) => panic!("say how one of {other} is made"),
    }
}

fn audiences(noun: &Noun) -> impl Iterator<Item = Audience> {
    [Audience::Customer, Audience::Operator].into_iter().filter(|a| noun.who.has(*a))
}

fn at(path: &str, noun: &Noun, id: &str) -> String {
    path.replace(&format!("{{{}}}", noun.paths.id), id)
}

/// Each noun that is declared has its row here: what one customer has made does not exist for another one, by whatever verb,
/// filter, sort or cursor.
#[test]
fn t_api_04_an_object_of_each_declared_noun_does_not_exist_for_another_customer() {
    with_api(|api| async move {
        for noun in noun::ALL.iter().filter(|n| n.who.has(Audience::Customer)) {
            let (mine, key) = api.customer("Mine").await;
            let (_, other) = api.customer("Other").await;
            let maker = noun.verbs_of(Audience::Customer).find(|d| d.verb == Verb::Create);
            let maker = maker.map_or(Audience::Operator, |_| Audience::Customer);
            let first = made(&api, noun, maker, &mine, &key).await.data();
            let first_of_mine = at(noun.paths.own, noun, first["id"].as_str().unwrap());
            let first = api.call(&key, "GET", &first_of_mine, None).await.data();
            another(&api, noun, maker, &mine, &key).await.data();
            let id = first["id"].as_str().unwrap();
            let own = at(noun.paths.own, noun, id);
            let nowhere =
                at(noun.paths.own, noun, (noun.examples.seen)(Audience::Customer)["id"].as_str().unwrap());
            for doing in noun.verbs {
                let (method, body) = match doing.verb {
                    Verb::List | Verb::Create => continue,
                    Verb::Read => ("GET", None),
                    Verb::Change => ("PATCH", Some((noun.examples.changed)())),
                    Verb::Replace => ("PUT", Some((noun.examples.made)())),
                    Verb::Delete => ("DELETE", None),
                };
                let there = api.call(&other, method, &own, body.clone()).await;
                let none = api.call(&other, method, &nowhere, body).await;
                // What only operators do with it is no method of a customer's path.
                let refused = if doing.is_for(Audience::Customer) { 404 } else { 405 };
                assert_eq!(there.status, refused, "{method} {own}: {}", there.body);
                assert_eq!(
                    there.json()["error"],
                    none.json()["error"],
                    "{method} {own} tells that there is one"
                );
            }
            let mut queries = vec![String::new()];
            for filter in noun.filters_of(Audience::Customer) {
                queries.extend(first[filter.column].as_str().map(|v| format!("{}={v}", filter.name)));
            }
            for sort in noun.sort_words(Audience::Customer) {
                let path = format!("{}?limit=1&sort={sort}", noun.paths.own_list);
                let page = api.call(&key, "GET", &path, None).await.json();
                let cursor =
                    page["meta"]["next_cursor"].as_str().expect("two objects are two pages").to_owned();
                queries.push(format!("sort={sort}&cursor={cursor}"));
            }
            assert!(queries.len() > 3, "{queries:?}");
            for query in queries {
                let r = api.call(&other, "GET", &format!("{}?{query}", noun.paths.own_list), None).await;
                let seen = r.json()["data"].clone();
                // A customer has a billing account from its beginning.
                let foreign = seen.as_array().unwrap().iter().filter(|o| o["customer_id"] == mine.as_str());
                assert_eq!((r.status, foreign.count()), (200, 0), "{query}: {}", r.body);
                assert!(noun.one == "ban" || seen == json!([]), "{query}: {}", r.body);
            }
            assert_eq!(api.call(&key, "GET", &own, None).await.data(), first, "it is as it was");
        }
    });
}

/// A noun of operators is nowhere for a customer: not at a path of its own, by no verb at an operators' path, not in its document.
#[test]
fn t_api_04_a_noun_of_operators_does_not_exist_for_customers() {
    with_api(|api| async move {
        let document = openapi::document(&warp_control_plane::api::endpoints(), Audience::Customer);
        let mut seen = 0;
        for noun in noun::ALL.iter().filter(|n| !n.who.has(Audience::Customer)) {
            let (parent, key) = parent(&api, noun, "Acme").await;
            let first = made(&api, noun, Audience::Operator, &parent, &key).await.data();
            let id = first["id"].as_str().unwrap();
            for doing in noun.verbs {
                let (method, body) = match doing.verb {
                    Verb::List | Verb::Read => ("GET", None),
                    Verb::Create => ("POST", Some((noun.examples.made)())),
                    Verb::Change => ("PATCH", Some((noun.examples.changed)())),
                    Verb::Replace => ("PUT", Some((noun.examples.made)())),
                    Verb::Delete => ("DELETE", None),
                };
                let (own, all) = match doing.verb {
                    Verb::List => (noun.paths.own_list.to_owned(), noun.paths.all_list.to_owned()),
                    Verb::Create => (noun.paths.own_list.to_owned(), made_at(noun, &parent)),
                    _ => (at(noun.paths.own, noun, id), at(noun.paths.all, noun, id)),
                };
                let there = api.call(&key, method, &all, body.clone()).await;
                assert_eq!(there.status, 403, "{method} {all}: {}", there.body);
                let nowhere = api.call(&key, method, &own, body).await;
                assert_eq!(nowhere.status, 404, "{method} {own}: {}", nowhere.body);
                let name = first["name"].as_str().or(first["reason"].as_str());
                let name = name.or(first["price"]["amount"].as_str()).unwrap();
                for r in [there, nowhere] {
                    assert!(!r.body.contains(id) && !r.body.contains(name), "{method}: {}", r.body);
                }
                seen += 1;
            }
            for path in [noun.paths.own_list, noun.paths.own, noun.paths.all_list, noun.paths.all] {
                assert!(document["paths"].get(path).is_none(), "{path} is published to customers");
            }
            let now = api.call(&api.operator, "GET", &at(noun.paths.all, noun, id), None).await;
            assert_eq!(now.data(), first, "it is as it was");
        }
        assert!(seen > 0, "there is a noun of operators");
    });
}

/// What is marked as secret is in no answer, and in the audit log as whether it is set.
#[test]
fn t_api_05_a_secret_of_a_declared_noun_is_answered_to_nobody_and_audited_as_set_or_not() {
    with_api(|api| async move {
        let noun = &noun::vendor_trunk::VENDOR_TRUNK;
        let (vendor, _) = parent(&api, noun, "Acme").await;
        let password = (noun.examples.made)()["auth_password"].as_str().unwrap().to_owned();
        let made = made(&api, noun, Audience::Operator, &vendor, "").await;
        let one = at(noun.paths.all, noun, made.data()["id"].as_str().unwrap());
        let mut answers = vec![made];
        let sealed = async || {
            let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
            let read = sqlx::query_scalar("SELECT auth_secret FROM vendor_trunks");
            let bytes: Option<Vec<u8>> = read.fetch_one(tx.db()).await.unwrap();
            bytes
        };
        let first = sealed().await.expect("a password is kept");
        assert!(!String::from_utf8_lossy(&first).contains(&password), "and sealed");
        for patch in [
            json!({ "channels": 7 }),
            json!({ "auth_password": "another one" }),
            json!({ "auth_username": null }),
        ] {
            answers.push(api.call(&api.operator, "PATCH", &one, Some(patch.clone())).await);
            let now = sealed().await;
            match patch["channels"].is_null() {
                false => assert_eq!(now.as_ref(), Some(&first), "a change without a password keeps it"),
                true if patch["auth_password"].is_null() => {
                    assert_eq!(now, None, "without a user it is gone")
                }
                true => assert!(now.is_some_and(|n| n != first), "it is another one"),
            }
        }
        answers.push(api.call(&api.operator, "GET", &one, None).await);
        answers.push(api.call(&api.operator, "GET", noun.paths.all_list, None).await);
        for r in &answers {
            assert_eq!(r.status / 100, 2, "{}", r.body);
            assert!(!r.body.contains("auth_password") && !r.body.contains("auth_secret"), "{}", r.body);
        }
        let audit = api.op("GET", "/audit?limit=200", None).await;
        for text in [&password, "another one", "auth_secret"] {
            assert!(!audit.body.contains(text), "{text}: {}", audit.body);
        }
        let lines = audit.data();
        let of_trunks = lines.as_array().unwrap().iter();
        let of_trunks = of_trunks.filter(|l| l["action"].as_str().unwrap().starts_with("vendor_trunk."));
        let set: Vec<_> =
            of_trunks.map(|l| (&l["before"]["auth_password"], &l["detail"]["auth_password"])).collect();
        let (no, yes) = (json!(false), json!(true));
        assert_eq!(set, [(&yes, &no), (&yes, &yes), (&yes, &yes), (&Value::Null, &yes)], "the newest first");
    });
}

/// Each change has what it was and what it is; a customer reads its own lines and no key of the carrier in them.
#[test]
fn t_api_05_the_audit_log_has_before_and_after_and_a_customer_reads_its_own_lines_only() {
    with_api(|api| async move {
        let (acme, key) = api.customer("Acme").await;
        let (_, other) = api.customer("Other").await;
        let [id] = trunks(&api, &key, ["a"]).await;
        trunks(&api, &other, ["b"]).await;
        let one = format!("/api/v1/trunks/{id}");
        api.call(&key, "PATCH", &one, Some(json!({ "channels": 7 }))).await.data();
        api.op("PATCH", &format!("/trunks/{id}"), Some(json!({ "cps": 3 }))).await.data();
        api.op("PATCH", &format!("/customers/{acme}"), Some(json!({ "cps": 9 }))).await.data();
        assert_eq!(api.call(&key, "DELETE", &one, None).await.status, 403, "held tighter by the carrier");
        assert_eq!(api.op("DELETE", &format!("/trunks/{id}"), None).await.status, 200);
        let all = api.op("GET", &format!("/audit?object={id}"), None).await.data();
        let lines: Vec<&Value> = all.as_array().unwrap().iter().collect();
        let actions: Vec<&str> = lines.iter().map(|l| l["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["trunk.delete", "trunk.update", "trunk.update", "trunk.create"]);
        assert_eq!((&lines[0]["before"]["name"], &lines[0]["detail"]), (&json!("a"), &Value::Null));
        assert_eq!((&lines[1]["before"]["cps"], &lines[1]["detail"]["cps"]), (&Value::Null, &json!(3)));
        assert_eq!(
            (&lines[2]["before"]["channels"], &lines[2]["detail"]["channels"]),
            (&Value::Null, &json!(7))
        );
        assert_eq!((&lines[3]["before"], &lines[3]["detail"]["version"]), (&Value::Null, &json!(1)));
        let operator = lines[1]["actor"].as_str().unwrap();
        let customers_key = lines[2]["actor"].as_str().unwrap();
        let count = async |query: &str| {
            let r = api.op("GET", &format!("/audit?limit=200&{query}"), None).await;
            assert_eq!(r.status, 200, "{query}: {}", r.body);
            r.data().as_array().unwrap().len()
        };
        let middle = lines[1]["at"].as_str().unwrap();
        assert_eq!(count(&format!("object={id}&actor={operator}")).await, 2);
        assert_eq!(count(&format!("object={id}&action=trunk.update")).await, 2);
        assert_eq!(
            count(&format!("object={id}&at[gte]={middle}")).await
                + count(&format!("object={id}&at[lt]={middle}")).await,
            4
        );
        assert!(count(&format!("customer={acme}")).await > 4);
        let wrong = api.op("GET", "/audit?customer=x&at[gte]=yesterday", None).await;
        assert_eq!((wrong.status, wrong.json()["error"]["details"].as_array().unwrap().len()), (422, 2));
        // The customer: its own trunk, by pages, and nothing of what its API does not have.
        let mut at = "/api/v1/audit?limit=2".to_owned();
        let mut own = Vec::new();
        loop {
            let page = api.call(&key, "GET", &at, None).await.json();
            own.extend(page["data"].as_array().unwrap().clone());
            match page["meta"]["next_cursor"].as_str() {
                Some(cursor) => at = format!("/api/v1/audit?limit=2&cursor={cursor}"),
                None => break,
            }
        }
        assert!(own.iter().all(|l| l["customer_id"] == acme.as_str()), "{own:?}");
        let of_trunk: Vec<&Value> = own.iter().filter(|l| l["object"] == id.as_str()).collect();
        assert_eq!(of_trunk.len(), 4);
        let actors: Vec<&str> = of_trunk.iter().map(|l| l["actor"].as_str().unwrap()).collect();
        assert_eq!(actors, ["carrier", "carrier", customers_key, customers_key]);
        assert!(own.iter().all(|l| !l["action"].as_str().unwrap().starts_with("customer.")), "{own:?}");
        assert!(!json!(own).to_string().contains(operator), "no key of the carrier");
        let theirs = api.call(&other, "GET", &format!("/api/v1/audit?object={id}"), None).await;
        assert_eq!((theirs.status, theirs.data()), (200, json!([])));
        let r = api.call(&other, "GET", &format!("/api/v1/audit?customer={acme}"), None).await;
        assert_eq!((r.status, r.code().as_str()), (400, "invalid_query"), "a customer has no such filter");
    });
}

/// An example is what the platform takes and answers: only ids and times differ.
#[test]
fn examples_of_each_declared_noun_are_taken_and_answered() {
    with_api(|api| async move {
        for noun in noun::ALL {
            let makes = |a: &Audience| noun.verbs_of(*a).any(|d| d.verb == Verb::Create);
            for audience in audiences(noun).filter(makes) {
                let (parent, key) = parent(&api, noun, "Acme").await;
                let r = made(&api, noun, audience, &parent, &key).await;
                assert_eq!(r.status, 201, "{}", r.body);
                let (mut real, mut example) = (r.data(), (noun.examples.seen)(audience));
                let key = if audience == Audience::Operator { &api.operator } else { &key };
                let one = at(noun.paths.one(audience), noun, real["id"].as_str().unwrap());
                assert_eq!(
                    r.header("location"),
                    Some(one.as_str()),
                    "what was made is where the declaration says"
                );
                if noun.verbs_of(audience).any(|d| d.verb == Verb::Change) {
                    let changed = api.call(key, "PATCH", &one, Some((noun.examples.changed)())).await;
                    assert_eq!(
                        (changed.status, &changed.json()["data"]["version"]),
                        (200, &json!(2)),
                        "{}",
                        changed.body
                    );
                    assert!(changed.data().get("secret").is_none(), "{}", changed.body);
                }
                let named = |name: &str| example.get(name).is_some();
                // What is the carrier's own has no customer.
                let varying = [
                    "id",
                    "ban_id",
                    "customer_id",
                    "vendor_id",
                    "partition_id",
                    "created_at",
                    "updated_at",
                    "next_at",
                    "said_at",
                    "targets",
                ]
                .into_iter()
                .filter(|n| named(n) && !(example[n].is_null() && real[n].is_null()));
                let varying: Vec<&str> = varying.collect();
                if named("issuer") {
                    // It is called after where it is.
                    assert!(real["issuer"].take().is_string() && example["issuer"].take().is_string());
                }
                for varies in varying {
                    let (a, b) = (real[varies].take(), example[varies].take());
                    let length = |v: &Value| v.as_str().or_else(|| v[0].as_str()).map(str::len);
                    assert!(length(&a).is_some() && length(&a) == length(&b), "{varies}: {a} and {b}");
                }
                // A secret is in the answer to the making alone.
                let shown = real.as_object_mut().and_then(|o| o.remove("secret"));
                assert_eq!(shown.is_some_and(|s| s.is_string()), noun.one == "webhook", "{}", r.body);
                assert_eq!(real, example, "{audience:?}");
            }
        }
    });
}

/// Each operation of a declared noun has its examples in the document of its audience, in the request and in the answer.
#[test]
fn each_body_of_a_declared_noun_is_published_with_an_example() {
    let endpoints = warp_control_plane::api::endpoints();
    let mut seen = 0;
    for audience in [Audience::Customer, Audience::Operator] {
        let document = openapi::document(&endpoints, audience);
        for noun in noun::ALL {
            let paths = [noun.paths.list(audience), noun.paths.one(audience), noun.paths.made_at];
            for e in endpoints.iter().filter(|e| paths.contains(&e.path)) {
                let Access::Scope(of, scope) = e.access else { panic!("{} is open", e.path) };
                if of != audience {
                    continue;
                }
                assert!(scope == noun.reads || scope == noun.writes, "{} at {}", scope.as_str(), e.path);
                assert_eq!(scope == noun.reads, e.method == "GET", "{} {}", e.method, e.path);
                let operation = &document["paths"][e.path][e.method.as_str().to_lowercase()];
                if noun.parent.is_some() && paths[2] == e.path && e.method == "GET" {
                    continue; // a list of one parent, by hand
                }
                for (kind, media) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                    assert!(media["example"].is_object(), "{} {}: {kind}", e.method, e.path);
                }
                let answers = operation["responses"].as_object().unwrap();
                let (_, good) = answers.iter().find(|(status, _)| status.starts_with('2')).unwrap();
                let example = &good["content"]["application/json"]["example"];
                let data = &example["data"];
                let whole = example["success"] == true && (data.is_array() || data["id"].is_string());
                assert!(whole || e.method == "DELETE", "{} {}: {example}", e.method, e.path);
                seen += 1;
            }
        }
    }
    // What may also be the carrier's own is made at one more place.
    let carriers = noun::ALL.iter().filter(|n| n.parent.as_ref().is_some_and(|p| p.or_carrier.is_some()));
    assert_eq!(
        seen,
        carriers.count()
            + noun::ALL.iter().flat_map(|n| audiences(n).map(|a| n.verbs_of(a).count())).sum::<usize>(),
        "each verb, for each audience that has the noun"
    );
}

/// A noun with each mark, which no API has. Its view shows too much.
mod locker {
    use serde_json::{Value, json};
    use warp_control_plane::api::endpoint::Audience;
    use warp_control_plane::app::fault::Fault;
    use warp_control_plane::app::input::Ref;
    use warp_control_plane::app::resource::{Of, Resource};
    use warp_control_plane::app::{Ctx, bans::BanInput};
    use warp_control_plane::store::Tx;
    use warp_control_plane::store::types::{Sealed, SealedChange, Time};
    use warp_model::CustomerId;
    use warp_model::id::{CustomerKind, TrunkKind};

    fn body() -> Value {
        json!({ "name": "n" })
    }

    fn seen(_: Audience) -> Value {
        json!({ "id": "trk_06f7jv8c1gdyzv3n1v8d5h2k4m", "name": "n" })
    }

    warp_control_plane::noun! {
        /// Lockers.
        LOCKER: locker in lockers, of customers by customer_id;
        for Everybody, called "locker", at "lockers", below its parent "lockers", scopes of "trunks";
        row LockerRow; values LockerValues;
        verbs { List "Lockers"; Create "Make a locker"; Read "A locker"; Change "Change a locker"; Replace "Replace a locker"; }
        examples body, body, seen;
        given { id: String, customer_id: String, created_at: Time, version: i32, }
        of the parent {}
        written { name: String, cost: i32 as Operators, pin_sealed: Sealed as Secret (pin), }
        sorted { created_at by Id for Everybody, }
        filtered { customer on customer_id as Ref<CustomerKind>, for Operators: "Only of this customer.", } listed { customer_id }
    }

    warp_control_plane::view! {
        /// A locker with all that it has.
        pub struct Locker {
            /// The id of the locker.
            pub id: String,
            /// The name of the locker.
            pub name: String,
            /// What it costs us.
            pub cost: i32,
            /// The digits that open it.
            pub pin: String,
        }
    }

    pub struct Lockers;

    impl Resource for Lockers {
        type Row = LockerRow;
        type Kind = TrunkKind;
        type Parent = CustomerId;
        type Input = BanInput;
        type View = Locker;

        fn view(_: &Ctx<'_>, row: LockerRow) -> Locker {
            Locker { id: row.id, name: row.name, cost: row.cost, pin: "1234".into() }
        }

        async fn values(
            _: &Ctx<'_>,
            _: &mut Tx,
            _: Of<'_, Self>,
            input: &BanInput,
        ) -> Result<LockerValues, Fault> {
            Ok(LockerValues { name: input.name.0.clone(), cost: 7, pin_sealed: SealedChange::Forget })
        }
    }
}

/// Their table, with one locker, in the database of this test.
async fn lockers(api: &Api) {
    let mut tx = api.control.app.store.begin(Scope::Operator("test")).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(tx.db()).await.unwrap();
    let options = common::cluster().unwrap().options("warp_super", &name);
    let mut db = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let table = "CREATE TABLE lockers (id text PRIMARY KEY, customer_id text, name text, cost integer, pin_sealed bytea,
            created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(), version integer DEFAULT 1);
        GRANT ALL ON lockers TO warp_app;
        INSERT INTO lockers (id, customer_id, name, cost)
            VALUES ('trk_00000000000000000000000001', 'cus_00000000000000000000000001', 'n', 7)";
    sqlx::raw_sql(table).execute(&mut db).await.unwrap();
}

/// Whatever a view shows: a customer's answers and document have no column of operators, and nobody's have a secret.
#[test]
fn t_api_04_a_marked_column_is_in_no_answer_and_no_document_that_must_not_have_it() {
    with_api(|api| async move {
        lockers(&api).await;
        for (audience, names) in
            [(Audience::Customer, &["id", "name"][..]), (Audience::Operator, &["cost", "id", "name"])]
        {
            let sees = |object: &Value| object.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            let endpoints = warp_control_plane::api::nouns::endpoints::<locker::Lockers>(audience);
            let document = openapi::document(&endpoints, audience);
            let schema = &document["components"]["schemas"]["Locker"];
            assert_eq!(sees(&schema["properties"]), names, "{audience:?}");
            assert_eq!(schema["required"].as_array().unwrap().len(), names.len(), "{schema}");
            assert_eq!(endpoints.len(), 5);
            for e in endpoints {
                let customer = "cus_00000000000000000000000001";
                let caller = Caller {
                    who: Who::Key("key_00000000000000000000000001".parse().unwrap()),
                    audience,
                    customer: (audience == Audience::Customer).then(|| customer.parse().unwrap()),
                    permissions: Permissions::all(),
                    ip_allow: Vec::new(),
                    expires_at: None,
                    recovered: false,
                    second_factor_at: None,
                    session: None,
                };
                let path = [("locker_id", "trk_00000000000000000000000001"), ("customer_id", customer)];
                let request = Request {
                    caller: Some(caller),
                    id: "req".into(),
                    path: path.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
                    query: Vec::new(),
                    body: r#"{"name":"n"}"#.into(),
                    replaces: e.method == "PUT",
                    expected: Expected::Any,
                    work: None,
                    peer: [127, 0, 0, 1].into(),
                    place: e.path.into(),
                    cursor: e.cursor,
                    idempotency_key: None,
                    last_event_id: None,
                    wants_stream: false,
                    cookies: warp_model::Secret::new(String::new()),
                };
                let answer = (e.handler)(api.control.app.clone(), request).await;
                let Ok(Answered::Data { data, .. }) = answer else { panic!("{} {}", e.method, e.path) };
                let object = data.get(0).unwrap_or(&data);
                assert_eq!(sees(object), names, "{audience:?} {} {}", e.method, e.path);
            }
        }
    });
}
