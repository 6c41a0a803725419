//! What in a sheet may carry money, dates, scope or removal, kind by kind and with its brothers: read rightly, or refused.

mod reading;

use reading::{no, read};
use warp_policy::deck::sheet::SheetOptions;

/// Each remembered option, as JSON, and what takes it back.
#[test]
fn every_remembered_option_can_be_taken_back_by_an_upload() {
    let all = r#"{"mapping":{"Dst":"full_code"},"ignore":["Peak"],"terms":"60/6","date_order":"day_first",
        "zone":"-05:00","currency":"USD","price_unit":"cents_per_minute","decimal":"comma","free_rows":true,
        "repeat_cells":true,"sheet":"Rates","cap":"2.5"}"#;
    let old: SheetOptions = serde_json::from_str(all).unwrap();
    let json = |o: &SheetOptions| serde_json::to_value(o).unwrap();
    let names: Vec<String> = json(&old).as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 12);
    for name in &names {
        let newer: SheetOptions = serde_json::from_str(&format!(r#"{{"reset":["{name}"]}}"#)).unwrap();
        let both = json(&old.under(&newer));
        assert!(both.get(name).is_none(), "{name}: {both}");
        assert_eq!(both.as_object().unwrap().len(), 11, "{name}: {both}");
        // What the upload says besides stands.
        let said = serde_json::json!({ "reset": [name], name.as_str(): json(&old)[name] });
        let said: SheetOptions = serde_json::from_value(said).unwrap();
        assert_eq!(old.under(&said), old, "{name}");
    }
    for name in ["free_rows", "repeat_cells"] {
        let newer: SheetOptions = serde_json::from_str(&format!(r#"{{"{name}":false}}"#)).unwrap();
        assert_eq!(json(&old.under(&newer))[name], false, "{name}");
        // Said once, it stays said.
        assert_eq!(json(&old.under(&newer).under(&SheetOptions::default()))[name], false, "{name}");
    }
    assert_eq!(old.under(&SheetOptions::default()), old);
    assert!(serde_json::from_str::<SheetOptions>(r#"{"reset":["colour"]}"#).is_err());
}

#[test]
fn prices_of_zero_are_told_when_they_are_taken() {
    no("az", r#"{"free_rows":false}"#, "Code,Rate\n44,0.0000\n", 2, "Rate", "free_rows");
    let text = "Prefix,Rate\n800,0\n888,0\n212,0.01\n";
    let notes = read("us", r#"{"free_rows":true}"#, text.as_bytes()).unwrap().recognised.notes;
    assert_eq!(notes, ["rows with a price of 0: 2; they are offers, as free_rows says"]);
}
