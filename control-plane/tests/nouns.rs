//! Lists of nouns that are declared once (RFC 0013): sorts, filters and cursors are those of the declaration, for each audience.
mod common;

use common::{Api, with_api};
use serde_json::{Value, json};
use warp_control_plane::store::Scope;

/// The names of a list, page by page.
async fn names(api: &Api, key: &str, path: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut at = path.to_owned();
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
