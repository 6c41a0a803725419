//! Rate sheets by the API: checks, options that are remembered, versions and the order in which they may come into force,
//! workbooks, and the route tester at another time.
mod common;

use common::{Api, Reply, eventually, with_api};
use serde_json::{Value, json};

struct Decks<'a> {
    api: &'a Api,
    id: String,
}

impl<'a> Decks<'a> {
    async fn new(api: &'a Api, name: &str, kind: &str) -> Decks<'a> {
        let deck = api.op("POST", "/rate-decks", Some(json!({ "name": name, "kind": kind }))).await.data();
        Decks { api, id: deck["id"].as_str().unwrap().to_owned() }
    }

    async fn post(&self, what: &str, query: &str, kind: &str, body: &[u8]) -> Reply {
        let bearer = format!("Bearer {}", self.api.operator);
        let path = format!("/api/v1/admin/rate-decks/{}/{what}?{query}", self.id);
        self.api
            .send("POST", &path, &[("Authorization", bearer.as_str()), ("Content-Type", kind)], body)
            .await
    }

    async fn upload(&self, query: &str, csv: &str) -> Reply {
        self.post("versions", query, "text/csv", csv.as_bytes()).await
    }

    async fn check(&self, query: &str, csv: &str) -> Reply {
        self.post("check", query, "text/csv", csv.as_bytes()).await
    }

    async fn activate(&self, number: i64) -> Reply {
        self.api.op("POST", &format!("/rate-decks/{}/versions/{number}/activate", self.id), None).await
    }

    async fn get(&self, rest: &str) -> Value {
        self.api.op("GET", &format!("/rate-decks/{}{rest}", self.id), None).await.data()
    }
}

fn query(options: Value) -> String {
    let text = options.to_string();
    let encoded: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
    format!("options={encoded}")
}

/// What a version holds can be read: all of it page by page, what is below a code, and of versions that are not in force too.
#[test]
fn the_rows_of_a_version_are_read_page_by_page() {
    with_api(|api| async move {
        let d = Decks::new(&api, "A-Z", "az").await;
        let sheet = "Code,Rate,Increment,Connection Fee,Effective Date,Status\n44,0.0125,1/1,,,\n447,0.05,60/1,0.02,2099-01-01,\n\
            4420,0.011,1/1,,,\n33,0.03,30/6,,,\n4478,,,,,Blocked\n";
        assert_eq!(d.upload("activate=true", sheet).await.status, 201);
        let usd = |amount: &str| json!({ "amount": amount, "currency": "USD" });
        let codes = |rows: &Value| {
            let rows = rows.as_array().unwrap().iter();
            rows.map(|r| r["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        let all = d.get("/versions/1/prices").await;
        assert_eq!(codes(&all), "33 44 4420 447 4478");
        assert_eq!(
            all[3],
            json!({ "code": "447", "carried": true, "interstate": usd("0.05"), "intrastate": usd("0.05"),
                "indeterminate": usd("0.05"), "increments": "60/1", "setup_fee": usd("0.02"),
                "from": "2099-01-01T00:00:00.000Z", "until": null })
        );
        assert_eq!((&all[4]["carried"], &all[4]["interstate"]), (&json!(false), &Value::Null));
        // Pages meet without a gap and without a row twice.
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/rate-decks/{}/versions/1/prices?code=44&limit=2{cursor}", d.id);
            let page = api.op("GET", &path, None).await;
            seen.push(codes(&page.data()));
            match page.json()["meta"]["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, ["44 4420", "447 4478"]);
        assert_eq!(codes(&d.get("/versions/1/prices?code=447").await), "447 4478");
        assert_eq!(codes(&d.get("/versions/1/prices?code=55").await), "");
        // Another version is another list; one that is not there is none.
        assert_eq!(d.upload("", "Code,Rate\n49,0.04\n").await.status, 201);
        assert_eq!(codes(&d.get("/versions/2/prices").await), "49");
        for (rest, status) in [("versions/3/prices", 404), ("versions/1/prices?code=0x", 422)] {
            let path = format!("/rate-decks/{}/{rest}", d.id);
            assert_eq!(api.op("GET", &path, None).await.status, status, "{rest}");
        }
    });
}

/// A first sheet moves no price: its report shows rows as they were understood, and says of each line what is wrong with it.
#[test]
fn the_report_of_a_first_sheet_shows_its_rows() {
    with_api(|api| async move {
        let d = Decks::new(&api, "A-Z", "az").await;
        let sheet = "Code,Rate (cents/min),Increments\n44,1.25,\n33,3,see contract\n34,2,60/60\n35,zero,min\n36,1,1/1,extra\n";
        let r = d.check("", sheet).await.data();
        let sample = r["sample"].as_array().unwrap();
        let shown = sample.iter().map(|row| (row["code"].clone(), row["interstate"]["amount"].clone()));
        assert_eq!(shown.collect::<Vec<_>>(), [(json!("44"), json!("0.0125")), (json!("34"), json!("0.02"))]);
        assert_eq!((&sample[0]["increments"], &sample[1]["increments"]), (&json!("1/1"), &json!("60/60")));
        // Increments that are not understood are not none: one row alone says nothing of them.
        assert_eq!(r["recognised"]["rows_without_increments"], 1);
        assert_eq!(
            (&r["rows_read"], &r["not_understood"], &r["lines_not_understood"]),
            (&json!(5), &json!(4), &json!(3))
        );
        let version = d.upload("", "Code,Rate\n44,0.0125\n").await.data();
        assert_eq!(
            version["report"]["sample"][0]["interstate"],
            json!({ "amount": "0.0125", "currency": "USD" })
        );
    });
}

#[test]
fn a_check_gives_the_full_report_and_stores_nothing() {
    with_api(|api| async move {
        let d = Decks::new(&api, "A-Z", "az").await;
        let base = "Code,Rate\n44,0.01\n447,0.02\n33,0.03\n49,0.04\n";
        assert_eq!(d.upload("activate=true", base).await.status, 201);
        let next =
            "Code,Rate,Status\n44,0.01,\n447,0.05,Increase\n33,0.02,\n52,0.06,New\n55,,Blocked\n34,0.01,Hm\n";
        let r = d.check("", next).await.data();
        let count = |name: &str| r[name].as_u64().unwrap();
        assert_eq!(
            ["new", "dearer", "cheaper", "same", "ended", "blocked", "not_understood"].map(count),
            [1, 1, 1, 1, 1, 1, 1]
        );
        assert_eq!((count("rows_read"), r["base"].clone()), (6, json!(1)));
        assert_eq!(
            r["largest"][0],
            json!({ "code": "447", "old": { "amount": "0.02", "currency": "USD" }, "new": { "amount": "0.05", "currency": "USD" },
                "old_increments": "1/1", "new_increments": "1/1", "old_setup_fee": { "amount": "0", "currency": "USD" },
                "new_setup_fee": { "amount": "0", "currency": "USD" }, "from": null })
        );
        let problem = &r["problems"][0];
        assert_eq!((problem["line"].clone(), problem["column"].clone()), (json!(7), json!("Status")));
        assert_eq!(r["recognised"]["zone"], "UTC");
        assert_eq!(d.get("/versions").await.as_array().unwrap().len(), 1, "nothing was stored");
        let refused = d.upload("activate=true", next).await;
        assert_eq!((refused.status, refused.code().as_str()), (422, "deck_invalid"));
        assert_eq!(refused.json()["error"]["details"][0]["field"], "line 7, Status");
        // The same report stands with the version.
        let good = next.replace("34,0.01,Hm\n", "");
        let version = d.upload("", &good).await.data();
        assert_eq!(version["report"]["dearer"], 1);
        assert_eq!(d.get("/versions").await[0]["report"]["largest"][0]["code"], "447");
    });
}

/// What changes beside the price is in the report, and so is what a sheet says of the past.
#[test]
fn the_report_shows_fees_and_increments_and_tells_of_rows_that_are_over() {
    with_api(|api| async move {
        let d = Decks::new(&api, "A-Z", "az").await;
        let base = "Code,Rate,Increment,Setup Fee\n44,0.01,1/1,0\n49,0.02,1/1,0.10\n";
        assert_eq!(d.upload("activate=true", base).await.status, 201);
        let next = "Code,Rate,Increment,Setup Fee,Valid To\n44,0.01,60/60,0,\n49,0.01,1/1,0.90,\n33,0.02,1/1,0,2026-01-31\n";
        let r = d.check("", next).await.data();
        assert_eq!((r["dearer"].clone(), r["rows"].clone()), (json!(2), json!(3)));
        let moved = |i: usize| {
            let m = &r["largest"][i];
            let fee = |name: &str| m[name]["amount"].as_str().unwrap_or("none").to_owned();
            (m["code"].clone(), m["new_increments"].clone(), fee("old_setup_fee"), fee("new_setup_fee"))
        };
        assert_eq!(moved(0), (json!("49"), json!("1/1"), "0.1".to_owned(), "0.9".to_owned()));
        assert_eq!(moved(1), (json!("44"), json!("60/60"), "0".to_owned(), "0".to_owned()));
        let notes = r["recognised"]["notes"].as_array().unwrap();
        assert!(notes.iter().any(|n| n.as_str().unwrap().contains("over already: 1")), "{notes:?}");
    });
}

#[test]
fn options_reach_the_reader_and_are_remembered_per_vendor() {
    with_api(|api| async move {
        let d = Decks::new(&api, "Vendor A-Z", "az").await;
        let vendor = json!({ "slug": "v", "name": "V", "buy_deck_ids": [d.id] });
        let vendor = api.op("POST", "/vendors", Some(vendor)).await.data()["id"].clone();
        let sheet = "Dst,Price,Begins\n44,0.01,01/02/2026\n";
        assert_eq!(d.upload("", sheet).await.status, 422);
        let options =
            query(json!({ "mapping": { "Dst": "full_code" }, "date_order": "day_first", "zone": "+01:00" }));
        assert_eq!(d.check(&options, sheet).await.data()["not_understood"], 0);
        assert_eq!(d.get("/sheet-options").await["options"], json!({}), "a check remembers nothing");
        assert_eq!(d.upload(&format!("remember=false&{options}"), sheet).await.status, 201);
        assert_eq!(d.upload("", sheet).await.status, 422);
        assert_eq!(d.upload(&options, sheet).await.status, 201);
        let kept = d.get("/sheet-options").await;
        assert_eq!(
            (kept["owner"].clone(), kept["options"]["date_order"].clone()),
            (vendor.clone(), json!("day_first"))
        );
        let again = d.upload("", sheet).await.data();
        assert_eq!(again["report"]["recognised"]["zone"], "+01:00");
        let note = again["report"]["recognised"]["notes"][0].clone();
        let wanted = "remembered of earlier sheets of this vendor: date_order = day_first; \"Dst\" is full_code; zone = +01:00";
        assert_eq!(note, wanted);
        // Another deck of the same vendor is read by them too.
        let other = Decks::new(&api, "Vendor mobile", "az").await;
        let both = json!({ "buy_deck_ids": [d.id, other.id] });
        let path = format!("/vendors/{}", vendor.as_str().unwrap());
        assert_eq!(api.op("PATCH", &path, Some(both)).await.status, 200);
        assert_eq!(other.upload("", sheet).await.status, 201);
        let set = api
            .op("PUT", &format!("/rate-decks/{}/sheet-options", d.id), Some(json!({ "terms": "60/60" })))
            .await;
        assert_eq!(set.data()["options"], json!({ "terms": "60/60" }));
        for wrong in [json!({ "terms": "0/6" }), json!({ "colour": 1 }), json!({ "cap": "0" }), json!([])] {
            let answer = d.upload(&query(wrong.clone()), "Code,Rate\n44,0.01\n").await;
            assert_eq!(answer.status, 422, "{wrong}");
        }
        assert_eq!(d.upload("options=x", "Code,Rate\n44,0.01\n").await.code(), "invalid_query");
    });
}

#[test]
fn a_remembered_option_can_be_taken_back_by_an_upload() {
    with_api(|api| async move {
        let d = Decks::new(&api, "8YY", "us").await;
        let free = "Prefix,Rate\n800,0\n";
        let dated = "Prefix,Rate,Effective\n800,0.01,05/12/2026\n";
        let first = query(json!({ "free_rows": true, "date_order": "day_first", "cap": "5" }));
        assert_eq!(d.upload(&first, free).await.status, 201);
        let again = d.upload("", free).await.data();
        assert_eq!(
            again["report"]["recognised"]["notes"],
            json!([
                "remembered of earlier sheets of this deck: cap = 5; date_order = day_first; free_rows = true",
                "rows with a price of 0: 1; they are offers, as free_rows says"
            ])
        );
        // What an upload says itself is not remembered of others.
        let said = d.check(&query(json!({ "cap": "6", "reset": ["date_order"] })), free).await.data();
        let note = said["recognised"]["notes"][0].clone();
        assert_eq!(note, "remembered of earlier sheets of this deck: free_rows = true");
        // A sheet that lost its prices is no offer where the upload says so.
        assert_eq!(d.check(&query(json!({ "free_rows": false })), free).await.data()["not_understood"], 1);
        assert_eq!(d.upload(&query(json!({ "free_rows": false })), free).await.status, 422);
        assert_eq!(
            d.get("/sheet-options").await["options"]["free_rows"],
            true,
            "a refused sheet changes nothing"
        );
        assert_eq!(d.upload(&query(json!({ "free_rows": false })), dated).await.status, 201);
        assert_eq!(d.get("/sheet-options").await["options"]["free_rows"], false);
        assert_eq!(d.upload("", free).await.status, 422);
        assert_eq!(d.upload(&query(json!({ "reset": ["date_order"] })), dated).await.status, 422);
        let back = query(json!({ "reset": ["free_rows", "cap"] }));
        assert_eq!(d.upload(&back, dated).await.status, 201);
        assert_eq!(d.get("/sheet-options").await["options"], json!({ "date_order": "day_first" }));
        let set = api
            .op("PUT", &format!("/rate-decks/{}/sheet-options", d.id), Some(json!({ "reset": ["cap"] })))
            .await;
        assert_eq!(set.data()["options"], json!({}));
        for wrong in [json!({ "reset": ["colour"] }), json!({ "reset": "cap" })] {
            assert_eq!(d.upload(&query(wrong.clone()), free).await.status, 422, "{wrong}");
        }
    });
}

#[test]
fn a_version_made_from_an_older_base_is_refused_and_a_roll_back_is_not() {
    with_api(|api| async move {
        let d = Decks::new(&api, "A-Z", "az").await;
        assert_eq!(d.upload("activate=true", "Code,Rate\n44,0.01\n33,0.03\n").await.status, 201);
        assert_eq!(d.upload("mode=partial", "Code,Rate\n44,0.02\n").await.data()["base_number"], 1);
        assert_eq!(d.upload("mode=partial", "Code,Rate\n33,0.04\n").await.data()["base_number"], 1);
        assert_eq!(d.activate(3).await.status, 200);
        // Version 2 does not know the price that version 3 brought.
        let refused = d.activate(2).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"), "{}", refused.body);
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("version 1") && message.contains("version 3"), "{message}");
        assert_eq!(d.activate(1).await.data()["active_version"], 1, "a roll-back");
        assert_eq!(d.activate(3).await.data()["active_version"], 3);
        // A full sheet stands for itself.
        assert_eq!(d.upload("", "Code,Rate\n44,0.05\n").await.data()["base_number"], Value::Null);
        assert_eq!(d.upload("mode=partial&activate=true", "Code,Rate\n33,0.06\n").await.status, 201);
        assert_eq!(d.activate(4).await.status, 200);
    });
}

/// A full sheet of next month carries today's prices until its rows begin. Those are the prices of the day that it was made: once others
/// are in force, it would take them back without a word.
#[test]
fn a_full_sheet_that_begins_later_is_refused_once_its_carried_prices_are_old() {
    with_api(|api| async move {
        let d = Decks::new(&api, "A-Z", "az").await;
        assert_eq!(d.upload("activate=true", "Code,Rate\n44,0.01\n33,0.03\n").await.status, 201);
        let later = "Code,Rate,Effective\n44,0.90,2199-01-01\n33,0.95,2199-01-01\n";
        let made = d.upload("", later).await.data();
        assert_eq!((made["base_number"].clone(), made["report"]["carried"].clone()), (json!(1), json!(2)));
        // A rise comes in between.
        assert_eq!(d.upload("activate=true", "Code,Rate\n44,0.05\n33,0.06\n").await.status, 201);
        let refused = d.activate(2).await;
        assert_eq!((refused.status, refused.code().as_str()), (409, "conflict"), "{}", refused.body);
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("version 1") && message.contains("version 3"), "{message}");
        assert_eq!(d.get("").await["active_version"], 3, "the rise stays in force");
        // Made again, it carries the prices of today.
        let again = d.upload("activate=true", later).await;
        assert_eq!((again.status, again.data()["base_number"].clone()), (201, json!(3)), "{}", again.body);
        // A dated full sheet of which every row is in force carries nothing, and stands for itself.
        let dated = "Code,Rate,Effective\n44,0.20,2020-01-01\n33,0.21,2020-01-01\n";
        assert_eq!(d.upload("", dated).await.data()["base_number"], Value::Null);
        assert_eq!(d.upload("activate=true", "Code,Rate\n44,0.07\n").await.status, 201);
        assert_eq!(d.activate(5).await.status, 200);
    });
}

#[test]
fn a_version_without_a_price_in_force_is_not_put_into_force() {
    with_api(|api| async move {
        let d = Decks::new(&api, "A-Z", "az").await;
        let later = "Code,Rate,Effective\n44,0.90,2199-01-01\n";
        let refused = d.upload("activate=true", later).await;
        assert_eq!(refused.status, 409, "{}", refused.body);
        assert!(refused.body.contains("2199-01-01"), "{}", refused.body);
        assert_eq!(d.get("/versions").await.as_array().unwrap().len(), 0, "nothing was stored");
        assert_eq!(d.upload("", later).await.status, 201);
        assert_eq!(d.activate(1).await.status, 409);
        assert_eq!(d.upload("", "Code,Rate,Status\n44,,Blocked\n").await.status, 201);
        assert_eq!(d.activate(2).await.status, 409);
        let over = "Code,Rate,Effective Date,Discontinued On\n44,0.01,2025-01-01,2026-01-01\n";
        assert_eq!(d.upload("activate=true", over).await.status, 409);
        // Over a version in force the same sheet leaves today's prices until its rows begin.
        assert_eq!(d.upload("activate=true", "Code,Rate\n44,0.01\n33,0.02\n").await.status, 201);
        let full = d.upload("activate=true", later).await;
        assert_eq!(full.status, 201, "{}", full.body);
        let report = full.data()["report"].clone();
        assert_eq!(
            (report["in_force"].clone(), report["begin_later"].clone(), report["carried"].clone()),
            (json!(2), json!(1), json!(2))
        );
        assert_eq!((report["dearer"].clone(), report["ended"].clone()), (json!(1), json!(1)));
    });
}

#[test]
fn the_route_tester_answers_for_the_time_it_is_asked_for() {
    with_api(|api| async move {
        let sell = Decks::new(&api, "sell", "az").await;
        assert_eq!(sell.upload("activate=true", "Code,Rate\n44,0.90\n").await.status, 201);
        let rows = "Code,Rate,From,Until\n44,0.10,,2099-01-01\n44,0.20,2099-01-01,2099-06-01\n447,0.15,2099-02-01,\n";
        let mut vendors = Vec::new();
        for (slug, rows) in [("a", rows), ("b", "Code,Rate\n44,0.18\n")] {
            let buy = Decks::new(&api, slug, "az").await;
            assert_eq!(buy.upload("activate=true", rows).await.status, 201);
            let body = json!({ "slug": slug, "name": slug, "buy_deck_ids": [buy.id] });
            let id = api.op("POST", "/vendors", Some(body)).await.data()["id"].as_str().unwrap().to_owned();
            let body = json!({ "name": "t", "addresses": ["127.0.0.1:5080"] });
            assert_eq!(api.op("POST", &format!("/vendors/{id}/trunks"), Some(body)).await.status, 201);
            vendors.push(json!({ "vendor_id": id }));
        }
        let partition =
            api.op("POST", "/partitions", Some(json!({ "name": "p", "vendors": vendors }))).await.data();
        let (customer, key) = api.customer("Acme").await;
        let body = json!({ "sell_deck_ids": [sell.id], "partition_id": partition["id"] });
        assert_eq!(api.op("PATCH", &format!("/customers/{customer}"), Some(body)).await.status, 200);
        let trunk = json!({ "name": "pbx", "destinations": ["domestic", "international"] });
        let trunk = api.call(&key, "POST", "/api/v1/trunks", Some(trunk)).await.data()["id"].clone();
        let ask = async |to: &str, at: Option<&str>| -> Option<Vec<(String, String)>> {
            let mut body = json!({ "trunk_id": trunk, "to": to });
            if let Some(at) = at {
                body["at"] = at.into();
            }
            let answer = api.op("POST", "/route", Some(body)).await;
            let decision = (answer.status == 200).then(|| answer.data()["decision"].clone())?;
            let all = decision["candidates"].as_array()?;
            let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
            Some(all.iter().map(|c| (text(&c["vendor_name"]), text(&c["buy"]["rate_per_min"]))).collect())
        };
        let pairs = |list: &[(&str, &str)]| {
            list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
        };
        let both = pairs(&[("a", "0.1"), ("b", "0.18")]);
        eventually("the world", || async { ask("+442071234567", None).await.filter(|c| *c == both) }).await;
        for (at, to, want) in [
            ("2098-12-31T23:59:59Z", "+442071234567", both.clone()),
            ("2099-01-01T00:00:00Z", "+442071234567", pairs(&[("b", "0.18"), ("a", "0.2")])),
            ("2099-01-01T00:00:00Z", "+447400123456", pairs(&[("b", "0.18"), ("a", "0.2")])),
            ("2099-02-01T00:00:00Z", "+447400123456", pairs(&[("a", "0.15"), ("b", "0.18")])),
            ("2099-07-01T00:00:00Z", "+442071234567", pairs(&[("b", "0.18")])),
        ] {
            assert_eq!(ask(to, Some(at)).await, Some(want), "{to} at {at}");
        }
        assert_eq!(ask("+442071234567", None).await, Some(both), "now is as it was");
    });
}

#[test]
fn a_workbook_is_a_sheet() {
    with_api(|api| async move {
        let d = Decks::new(&api, "A-Z", "az").await;
        let xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";
        let bytes = include_bytes!("../testdata/vendor.xlsx");
        let r = d.post("check", "", xlsx, bytes).await.data();
        assert_eq!(r["problems"][0]["column"], "Effective Date", "{r}");
        let query = query(json!({ "repeat_cells": true }));
        let made = d.post("versions", &format!("activate=true&{query}"), xlsx, bytes).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let report = made.data()["report"].clone();
        assert_eq!(
            (report["recognised"]["format"].clone(), report["rows"].clone()),
            (json!("XLSX"), json!(3))
        );
        assert_eq!(d.post("versions", "", "image/png", bytes).await.status, 415);
        let cut = d.post("check", "", xlsx, &bytes[..bytes.len() / 2]).await.data();
        assert_eq!(cut["not_understood"], 1);
    });
}
