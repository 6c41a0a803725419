//! What in a sheet may carry money, dates, scope or removal, kind by kind and with its brothers: read rightly, or refused.

mod reading;

use reading::{no, ok, read};
use warp_policy::deck::sheet::SheetOptions;

#[test]
fn a_list_is_of_whole_codes_or_refused() {
    let sheet = |cell: &str| format!("Code,Rate\n\"{cell}\",0.01\n");
    for cell in [
        "1-809, 829, 849",
        "1-809,829",
        "1 809; 829",
        "7 495, 499",
        "7495, 499",
        "7495|499",
        "1809, 829, 849",
        "4420, 121",
        "44-20, 121",
        "4477, 78, 79",
        "4477, 8, 9",
        "7495-7499, 812",
        "7 495 - 7 499, 812",
    ] {
        no("az", "", &sheet(cell), 2, "Code", "all codes of the list whole");
    }
    for cell in ["44-7700-7799", "1-201-203", "7-495-499", "44-20-21"] {
        no("az", "", &sheet(cell), 2, "Code", "one code in groups, or a range");
    }
    for cell in ["7 495 499", "1 809 829 849", "44 20 7946", "44 20 21"] {
        no("az", "", &sheet(cell), 2, "Code", "separate codes by commas");
    }
    no("az", "", &sheet("1-809, 829-830"), 2, "Code", "spans country codes");
    for cell in ["1809-829", "7495-499", "447700-99", "7 495-499"] {
        no("az", "", &sheet(cell), 2, "Code", "two codes of one length");
    }
    for (cell, want) in [
        ("44, 1, 7", "44 0.01 1/1; 1 0.01 1/1; 7 0.01 1/1"),
        ("44 20, +39, 0033", "4420 0.01 1/1; 39 0.01 1/1; 33 0.01 1/1"),
        ("1809, 1-829", "1809 0.01 1/1; 1829 0.01 1/1"),
        ("1-809, 1-829, 1-849", "1809 0.01 1/1; 1829 0.01 1/1; 1849 0.01 1/1"),
        ("44 20, 44 121", "4420 0.01 1/1; 44121 0.01 1/1"),
        ("7 495 - 7 496", "7495 0.01 1/1; 7496 0.01 1/1"),
        ("37744, 38349, 38643", "37744 0.01 1/1; 38349 0.01 1/1; 38643 0.01 1/1"),
        ("881, 8821, 8835", "881 0.01 1/1; 8821 0.01 1/1; 8835 0.01 1/1"),
        ("447700, 4475, 447", "447700 0.01 1/1; 4475 0.01 1/1; 447 0.01 1/1"),
        ("44-20-7946", "44207946 0.01 1/1"),
        ("1-809-201", "1809201 0.01 1/1"),
    ] {
        ok("az", "", &sheet(cell), want);
    }
    // With the country code in a column of its own every part follows it.
    ok(
        "az",
        "",
        "Country Code,Area Code,Rate\n1,\"809, 829\",0.01\n7,495-496,0.01\n",
        "1809 0.01 1/1; 1829 0.01 1/1; 7495 0.01 1/1; 7496 0.01 1/1",
    );
}

#[test]
fn codes_of_the_usa_are_whole_or_refused() {
    let sheet = |name: &str, cell: &str| format!("{name},Rate\n\"{cell}\",0.01\n");
    for cell in ["212-555, 556", "212555, 556", "212555;213", "1212555, 1213"] {
        no("us", "", &sheet("NPA-NXX", cell), 2, "NPA-NXX", "all codes of the list whole");
    }
    for cell in ["201-203", "1-201-203", "201-205, 301"] {
        no("us", "", &sheet("Prefix", cell), 2, "Prefix", "a range of area codes");
    }
    for cell in ["201 202", "1 201 202", "201 202 203", "2125 2126"] {
        no("us", "", &sheet("Prefix", cell), 2, "Prefix", "separate codes by commas");
    }
    no("us", "", &sheet("NPA-NXX", "201-202-203"), 2, "NPA-NXX", "not an NPA");
    for (name, cell, want) in [
        ("NPA-NXX", "201-203", "1201203"),
        ("NPA NXX", "201 203", "1201203"),
        ("Prefix", "(201) 203", "1201203"),
        ("Prefix", "1-201", "1201"),
        ("Prefix", "201-203-4", "12012034"),
        ("Prefix", "201203-4", "12012034"),
        ("NPANXX-X", "201-203-4", "12012034"),
    ] {
        ok("us", "", &sheet(name, cell), &format!("{want} 0.01 6/6"));
    }
    // Where one of them cannot be a range, none of the column is.
    ok("us", "", "Prefix,Rate\n201-203,0.01\n989-202,0.02\n", "1201203 0.01 6/6; 1989202 0.02 6/6");
}

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
