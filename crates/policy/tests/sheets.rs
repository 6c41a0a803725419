//! Sheets as vendors write them, one habit each, beside those of `testdata/field`: read rightly, or refused with line, column
//! and reason. `ok` lists what must be read; `line, column, words` where it must be refused.

mod reading;

use reading::{no, ok, read, shown};
use warp_model::Currency;
use warp_policy::deck::{DeckKind, ImportOptions, read_text};

#[test]
fn rows_have_as_many_cells_as_the_header() {
    no("az", "", "Code,Rate\n44,0.01\n33,0,02\n", 3, "column 3", "3 cells and the header 2");
    no("az", "", "Code,Rate,Name\n44,0.01\n", 2, "Name", "2 cells and the header 3");
    no("az", "", "Code,Rate\n44,0.01,\n", 2, "column 3", "3 cells");
    ok("az", "", "Code,Rate\n44,0.01\n\n,\n33,0.02\n", "44 0.01 1/1; 33 0.02 1/1");
    ok("az", "", "Code,Rate\n44,0.01\nCode,Rate\n33,0.02\n", "44 0.01 1/1; 33 0.02 1/1");
}

#[test]
fn a_quote_never_swallows_rows() {
    no("az", "", "Code,Rate,Name\n44,0.01,\"UK\n33,0.02,France\n", 2, "", "never closed");
    no("az", "", "Code,Rate,Name\n44,0.01,\"UK\n33,0.02,\"France\n", 3, "", "closing quote");
    ok("az", "", "Code,Rate,Name\n44,0.01,\"United\nKingdom, \"\"GB\"\"\"\n", "44 0.01 1/1");
}

#[test]
fn columns_that_are_not_understood() {
    no("az", "", "Code,Rate,Discount\n44,0.01,5%\n", 1, "Discount", "not understood");
    no("az", "", "Code,Rate,Min Rate\n44,0.01,0.05\n", 1, "Min Rate", "not understood");
    no("az", "", "Code,Rate,Tech Prefix\n44,0.01,99#\n", 1, "Tech Prefix", "ignore it by name");
    no("az", "", "Code,Rate,\n44,0.01,5\n", 2, "column 3", "without a name");
    ok("az", "", "Code,Rate,Discount,\n44,0.01,,\n", "44 0.01 1/1");
    ok("az", r#"{"ignore":["tech prefix"]}"#, "Code,Rate,Tech Prefix\n44,0.01,99#\n", "44 0.01 1/1");
    ok(
        "az",
        r#"{"mapping":{"Destination Breakout":"code","PVP":"rate"}}"#,
        "Destination Breakout,PVP\n44,0.01\n",
        "44 0.01 1/1",
    );
    no("az", r#"{"mapping":{"Conn":"setup_fee"}}"#, "Code,Rate\n44,0.01\n", 1, "", "the sheet does not have");
    no("az", "", "Code,Rate,Price\n44,0.01,0.02\n", 1, "Price", "two columns look like rate");
    ok("az", "", "Code,Current Rate,New Rate\n44,0.01,0.02\n", "44 0.02 1/1");
    ok("az", "", "Code,Old Rate,Rate,% Change,Notes\n44,0.01,0.02,100%,call us\n", "44 0.02 1/1");
    no("az", "", "Code,Rate,Rate 2\n44,0.01,0.02\n", 1, "Rate 2", "not understood");
    no("az", "", "Destination,Price\nUK,0.01\n", 1, "", "dial code");
    no("az", "", "Code,Name\n44,UK\n", 1, "", "no column with the price");
}

/// Whoever uploads corrects a header once: an unknown column does not hide a doubled one, a wrong unit, or a line above.
#[test]
fn all_mistakes_of_a_header_are_named_at_once() {
    let errors = |kind: &str, options: &str, sheet: &str| -> Vec<String> {
        read(kind, options, sheet.as_bytes())
            .unwrap_err()
            .iter()
            .map(|e| format!("{} {}", e.line, e.column))
            .collect()
    };
    let sheet = "Currency: GTQ\nCode,Rate (EUR),Price,Discount,Peak Rate,Increments,Billing Increments\n\
                 44,0.01,0.02,5%,0.03,1/1,1/1\n";
    assert_eq!(
        errors("az", "", sheet),
        ["1 ", "2 Rate (EUR)", "2 Price", "2 Discount", "2 Billing Increments", "3 Peak Rate"]
    );
    // Where the codes stand is a question beside the others.
    let sheet = "Country Code,Code,Rate,Discount\n1,12,0.01,5%\n1,11,0.02,5%\n";
    assert_eq!(errors("az", "", sheet), ["1 Discount", "2 Code"]);
    // It is not asked of columns of which two claim to be the code, nor where the mapping misses its column.
    let sheet = "Country Code,Code,Prefix,Rate\n1,12,12,0.01\n";
    assert_eq!(errors("az", "", sheet), ["1 Prefix"]);
    let sheet = "Country Code,Code,Rate\n1,12,0.01\n";
    assert_eq!(errors("az", r#"{"mapping":{"Cod":"full_code"}}"#, sheet), ["1 "]);
}

#[test]
fn removal_and_blocking() {
    let sheet = |word: &str| format!("Code,Rate,Status\n44,0.01,New\n447,0.02,{word}\n");
    for word in [
        "Discontinued",
        "suspended",
        "Not Available",
        "No Access",
        "closed",
        "WITHDRAWN",
        "Barred",
        "Out of service",
    ] {
        ok("az", "", &sheet(word), "44 0.01 1/1; 447 blocked");
    }
    for word in ["Deleted", "removed", "Code Deleted", "Ended"] {
        ok("az", "", &sheet(word), "44 0.01 1/1; -447");
    }
    for word in ["Rate Increase", "No change", "Active", "Updated"] {
        ok("az", "", &sheet(word), "44 0.01 1/1; 447 0.02 1/1");
    }
    no("az", "", &sheet("Grandfathered"), 3, "Status", "not understood");
    no("az", "", &sheet("D"), 3, "Status", "not understood");
    ok("az", "", "Code,Rate,Active\n44,0.01,Yes\n447,0.02,No\n", "44 0.01 1/1; 447 blocked");
    ok("az", "", "Code,Rate,Discontinued\n44,0.01,\n447,0.02,x\n", "44 0.01 1/1; 447 blocked");
    no("az", "", "Code,Rate,Blocked\n44,0.01,maybe\n", 2, "Blocked", "neither yes nor no");
    no("az", "", "Code,Rate,Remarks\n44,0.01,\n447,0.02,Blocked\n", 3, "Remarks", "map the column to status");
    ok("az", r#"{"mapping":{"Remarks":"status"}}"#, "Code,Rate,Remarks\n447,0.02,Blocked\n", "447 blocked");
    ok("az", "", "Code,Rate\n44,0.01\n447,N/A\n448,Not Available\n", "44 0.01 1/1; 447 blocked; 448 blocked");
    no("az", "", "Code,Rate\n44,TBA\n", 2, "Rate", "not a price");
    ok("az", "", "Code,Rate,Status,Effective Date\n33,,Removed,2027-01-01\n", "-33 >2027-01-01");
}

#[test]
fn a_price_of_zero_is_an_offer_only_when_the_upload_says_so() {
    no("az", "", "Code,Rate\n44,0.0000\n", 2, "Rate", "free_rows");
    no("us", "", "Prefix,Inter,Intra,IJ\n212555,0.001,0,0.001\n", 2, "Intra", "price of 0");
    ok("us", r#"{"free_rows":true}"#, "Prefix,Rate\n800,0\n", "1800 0 6/6");
}

#[test]
fn minimum_and_increment_in_their_forms() {
    for (header, cells, want) in [
        ("Min,Int", "60,1", "60/1"),
        ("Initial Increment,Increment", "30,6", "30/6"),
        ("Interval 1,Interval N", "60,6", "60/6"),
        ("Minimum Duration,Interval", "1,1", "1/1"),
        ("First Interval,Next Interval", "6,6", "6/6"),
        ("Initial Period,Additional Increment", "60 sec,1 sec", "60/1"),
        ("Billing Increment", "60/6", "60/6"),
        ("Billing Increment", "60-6", "60/6"),
        ("Increments", "1/1/1", "1/1"),
        ("Billing", "60", "60/60"),
        ("Pulse", "1 min", "60/60"),
        ("Billing Terms", "per second", "1/1"),
        ("Increment,Min", "1/1,1", "1/1"),
        ("Billing Increment,Interval N", "60/6,6", "60/6"),
        ("Initial Increment,Billing Increment", "30,6", "30/6"),
        ("Initial Increment,Billing Increment", "30,30/6", "30/6"),
    ] {
        ok("az", "", &format!("Code,Rate,{header}\n44,0.01,{cells}\n"), &format!("44 0.01 {want}"));
    }
    for (header, cells, column, words) in [
        ("Billing Increment", "60/60/1", "Billing Increment", "60/6"),
        ("Billing Increment", "6-Jun", "Billing Increment", "60/6"),
        ("Billing Increment", "0/6", "Billing Increment", "3,600"),
        ("Min,Int", "60,0", "Int", "3,600"),
        ("Min,Int", "60,", "Int", "terms"),
        ("Increment,Min", "60/60,1", "Increment", "contradict"),
        ("Billing Increment,Interval N", "60/6,1", "Billing Increment", "contradict"),
        ("Initial Increment,Billing Increment", "30,60/6", "Billing Increment", "contradict"),
    ] {
        no(
            "az",
            "",
            &format!("Code,Rate,{header}\n44,0.01,\"{}\"\n", cells.replace(',', "\",\"")),
            2,
            column,
            words,
        );
    }
    no("az", "", "Code,Rate,Min\n44,0.01,60\n", 1, "Min", "further increments");
    ok("az", r#"{"terms":"1/6"}"#, "Code,Rate,Min\n44,0.01,60\n", "44 0.01 60/6");
    ok("az", r#"{"terms":"60/60"}"#, "Code,Rate\n44,0.01\n", "44 0.01 60/60");
}

#[test]
fn fees_currencies_and_units() {
    for name in
        ["Setup Fee", "Connection Charge", "Surcharge", "Connect Fee (USD)", "Flag fall", "Per call fee"]
    {
        ok("az", "", &format!("Code,Rate,{name}\n44,0.01,0.002\n"), "44 0.01 1/1 fee 0.002");
    }
    no(
        "az",
        "",
        "Code,Rate,Setup Fee,Surcharge\n44,0.01,0.002,0.003\n",
        1,
        "Surcharge",
        "two columns look like setup_fee",
    );
    ok("az", "", "Code,Rate,Currency\n44,0.01,USD\n", "44 0.01 1/1");
    no("az", "", "Code,Rate (EUR)\n44,0.01\n", 1, "Rate (EUR)", "EUR");
    ok("az", "", "Code,Rate (USD/min)\n44,0.01\n", "44 0.01 1/1");
    no("az", "", "Code,Rate\n44,€0.01\n", 2, "Rate", "the deck is in USD");
    ok("az", "", "Code,Rate\n44,USD 0.01\n33,0.02 $\n", "44 0.01 1/1; 33 0.02 1/1");
    ok("az", "", "Code,Rate (cents/min)\n44,1.25\n", "44 0.0125 1/1");
    ok("az", "", "Code,Price per second\n44,0.0001\n", "44 0.006 1/1");
    ok(
        "az",
        r#"{"price_unit":"cents_per_minute"}"#,
        "Code,Rate,Setup\n44,1.25,1\n",
        "44 0.0125 1/1 fee 0.01",
    );
    no(
        "az",
        r#"{"price_unit":"cents_per_minute"}"#,
        "Code,Rate per second\n44,1\n",
        1,
        "Rate per second",
        "another price unit",
    );
    no("az", "", "Code,Rate,Unit\n44,0.01,second\n", 2, "Unit", "another unit");
    ok("az", "", "Code,Rate,Unit\n44,0.01,per minute\n", "44 0.01 1/1");
    let mut canada = ImportOptions {
        kind: DeckKind::Az,
        currency: "CAD".parse::<Currency>().unwrap(),
        ..ImportOptions::default()
    };
    let text = b"Code,Rate\n44,$0.01\n";
    assert!(read_text(text, &canada).unwrap_err()[0].message.contains("CAD"));
    canada.sheet.currency = Some(canada.currency);
    assert_eq!(shown(&read_text(text, &canada).unwrap()), "44 0.01 1/1");
    no("az", r#"{"currency":"EUR"}"#, "Code,Rate\n44,0.01\n", 0, "", "the deck is in USD");
}

#[test]
fn prices_that_hold_for_some_hours_places_or_callers() {
    for name in ["Peak Rate", "Off-Peak", "Weekend", "Night rate"] {
        no("az", "", &format!("Code,Rate,{name}\n44,0.01,\n33,0.01,0.05\n"), 3, name, "hours");
        ok("az", "", &format!("Code,Rate,{name}\n44,0.01,\n"), "44 0.01 1/1");
    }
    for name in ["Origin", "Originating Prefix", "A-Number", "ANI Group", "CLI", "Calling Party"] {
        no("az", "", &format!("Code,Rate,{name}\n44,0.01,EEA\n"), 2, name, "origin");
    }
    no("us", "", "Prefix,Inter,Intra,Local\n212555,0.1,0.2,0.05\n", 2, "Local", "local prices");
    ok("az", r#"{"ignore":["Peak Rate"]}"#, "Code,Rate,Peak Rate\n44,0.01,0.05\n", "44 0.01 1/1");
}

#[test]
fn dates_under_all_names() {
    for name in [
        "Effective Date",
        "Valid From",
        "Active From",
        "Start",
        "Start Date",
        "Activation Date",
        "From",
        "WEF",
        "Effective (UTC)",
    ] {
        ok("az", "", &format!("Code,Rate,{name}\n44,0.01,2027-01-02\n"), "44 0.01 1/1 >2027-01-02");
    }
    for name in ["Expires", "Valid Till", "Valid To", "Expiry Date", "End Date", "Until", "Effective To"] {
        ok("az", "", &format!("Code,Rate,{name}\n44,0.01,2027-01-02\n"), "44 0.01 1/1 <2027-01-03");
    }
    for name in ["Discontinued On", "Withdrawn on"] {
        ok(
            "az",
            "",
            &format!("Code,Rate,{name}\n44,0.01,2027-01-02\n"),
            "44 0.01 1/1 <2027-01-02; 44 blocked >2027-01-02",
        );
    }
    for (text, want) in [
        ("05.12.2026", "2026-12-05"),
        ("46357", "2026-12-01"),
        ("2026-12-01 06:30", "2026-12-01T06:30"),
        ("1-Dec-2026", "2026-12-01"),
        ("12/31/2026", "2026-12-31"),
        ("31/12/2026", "2026-12-31"),
        ("\"Dec 1, 2026\"", "2026-12-01"),
        ("2026-12-01T00:00:00+01:00", "2026-11-30T23:00"),
    ] {
        ok("az", "", &format!("Code,Rate,Effective\n44,0.01,{text}\n"), &format!("44 0.01 1/1 >{want}"));
    }
    for text in
        ["05/12/2026", "5-12-2026", "5/12/26", "Q1 2027", "tomorrow", "2026-13-01", "2026-12-01 25:00"]
    {
        no("az", "", &format!("Code,Rate,Effective\n44,0.01,{text}\n"), 2, "Effective", "");
    }
    ok(
        "az",
        r#"{"date_order":"day_first","zone":"+02:00"}"#,
        "Code,Rate,Start\n44,0.01,05/12/2026\n",
        "44 0.01 1/1 >2026-12-04T22:00",
    );
    no(
        "az",
        r#"{"zone":"+02:00"}"#,
        "Code,Rate,Start (UTC)\n44,0.01,2026-12-05\n",
        1,
        "Start (UTC)",
        "another time zone",
    );
    no("az", "", "Code,Rate,Effective (EST)\n44,0.01,2026-12-05\n", 1, "Effective (EST)", "not understood");
    no("az", "", "Code,Rate,From,Until\n44,0.01,2026-12-05,2026-12-04\n", 2, "Until", "ends before");
    ok(
        "az",
        "",
        "Code,Rate,From,Until\n44,0.01,2026-12-05,2026-12-05\n",
        "44 0.01 1/1 >2026-12-05 <2026-12-06",
    );
    ok("az", "", "Code,Rate,From,Until\n44,0.01,immediately,until further notice\n", "44 0.01 1/1");
    no("az", "", "Code,Rate,Timezone\n44,0.01,EST\n", 1, "Timezone", "not understood");
}

#[test]
fn codes_apart_together_or_both() {
    ok("az", "", "Country Code,Code,Rate\n44,20,0.01\n33,1,0.02\n", "4420 0.01 1/1; 331 0.02 1/1");
    ok("az", "", "Country Code,Code,Rate\n44,4420,0.01\n33,331,0.02\n", "4420 0.01 1/1; 331 0.02 1/1");
    no("az", "", "Country Code,Code,Rate\n44,4420,0.01\n33,1,0.02\n", 2, "Code", "full_code");
    no("az", "", "Country Code,Code,Rate\n7,701,0.01\n", 2, "Code", "area_code");
    ok("az", r#"{"mapping":{"Code":"area_code"}}"#, "Country Code,Code,Rate\n7,701,0.01\n", "7701 0.01 1/1");
    ok("az", r#"{"mapping":{"Code":"full_code"}}"#, "Country Code,Code,Rate\n7,7701,0.01\n", "7701 0.01 1/1");
    no("az", "", "Country Code,Area Code,Rate\n44,4420,0.01\n33,331,0.01\n", 1, "Area Code", "full_code");
    no("az", "", "Area Code,Rate\n20,0.01\n", 1, "Area Code", "country codes");
    ok("az", "", "Country Code,Dial Code,Rate\nGB,4420,0.01\nFR,33,0.02\n", "4420 0.01 1/1; 33 0.02 1/1");
    ok("az", "", "Country Code,Rate\n44,0.01\n1-242,0.2\n", "44 0.01 1/1; 1242 0.2 1/1");
    ok(
        "az",
        "",
        "Code,Rate\n44 20,0.01\n1-242,0.2\n+33,0.03\n0049,0.04\n44.0,0.05\n=\"31\",0.06\n",
        "4420 0.01 1/1; 1242 0.2 1/1; 33 0.03 1/1; 49 0.04 1/1; 44 0.05 1/1; 31 0.06 1/1",
    );
    no("az", "", "Code,Rate\n44-46,0.01\n", 2, "Code", "spans country codes");
    no("az", "", "Code,Rate\n7495 7499,0.01\n", 2, "Code", "commas");
    no("az", "", "Code,Rate\n044,0.01\n", 2, "Code", "never with 0");
    no("az", "", "Code,Rate\n4.4E+11,0.01\n", 2, "Code", "digits are lost");
    no("az", "", "Code,Rate\nUK,0.01\n", 2, "Code", "digits only");
    no("az", "", "Code,Rate\n44,0.01\n44,0.02\n", 3, "Code", "also on line 2");
    no("az", "", "Code,Rate\n\"44,33,44\",0.02\n", 2, "Code", "on this line twice");
    ok(
        "us",
        "",
        "NPA,NXX,Block,Rate\n201,555,A,0.1\n201,556,3,0.2\n201,,,0.3\n",
        "1201555 0.1 6/6; 12015563 0.2 6/6; 1201 0.3 6/6",
    );
    ok("us", "", "NPA,NXX,NPANXX,Rate\n201,555,201555,0.1\n", "1201555 0.1 6/6");
    no("us", "", "NPA,NXX,NPANXX,Rate\n201,555,201556,0.1\n", 2, "NPANXX", "not below");
    ok("us", "", "NPA-NXX,Rate\n201-555,0.1\n", "1201555 0.1 6/6");
    no("us", "", "Country Code,NPANXX,Rate\n44,201555,0.1\n", 2, "NPANXX", "country code 1");
    ok(
        "az",
        r#"{"repeat_cells":true}"#,
        "Country Code,Area Code,Rate,Effective\n44,20,0.01,2027-01-01\n,7,0.02,\n",
        "4420 0.01 1/1 >2027-01-01; 447 0.02 1/1 >2027-01-01",
    );
}

/// One price, or one for each jurisdiction: a row with both says two things.
#[test]
fn a_row_has_one_price_or_those_of_jurisdictions() {
    let header = "NPANXX,Rate,Interstate,Intrastate\n";
    no("us", "", &format!("{header}201555,0.1,0.2,0.3\n"), 2, "Rate", "in one row");
    no("us", "", &format!("{header}201555,0.1,,0.3\n"), 2, "Rate", "in one row");
    ok("us", "", &format!("{header}201555,0.1,,\n"), "1201555 0.1 6/6");
}

/// Columns that only together make a code: none of them may be passed over, because the rest prices more numbers.
#[test]
fn no_part_of_a_code_is_passed_over() {
    ok("us", "", "Area Code,NXX,Rate\n201,555,0.1\n", "1201555 0.1 6/6");
    ok("us", "", "NPANXX,Block,Rate\n201555,3,0.1\n201555,A,0.2\n", "12015553 0.1 6/6; 1201555 0.2 6/6");
    no("us", "", "NPANXX,Block,Rate\n201,3,0.1\n", 2, "NPANXX", "one exchange");
    no("us", "", "NPANXX,Block,Rate\n201555,Yes,0.1\n", 2, "NPANXX", "one digit");
    no("us", "", "Code,NXX,Rate\n201,555,0.1\n", 1, "NXX", "area codes");
    no("az", "", "Code,NPA,NXX,Rate\n1,201,555,0.1\n", 2, "Code", "beside an area code");
    ok("az", "", "Code,Rate,Block\n44,0.01,No\n447,0.02,Yes\n", "44 0.01 1/1; 447 blocked");
    no("az", "", "Code,Rate,Block\n44,0.01,3\n", 2, "Block", "neither yes nor no");
    no("az", "", "NPANXX,Rate\n201555,0.01\n", 1, "NPANXX", "North American plan");
    ok("az", r#"{"mapping":{"NPANXX":"full_code"}}"#, "NPANXX,Rate\n1201555,0.01\n", "1201555 0.01 1/1");
}

#[test]
fn separators_encodings_and_numbers() {
    ok("az", "", "Code;Rate\n44;0,0125\n33;1,5\n", "44 0.0125 1/1; 33 1.5 1/1");
    ok("az", "", "Code\tRate\tName\n44\t0.01\tUK, fixed; all\n", "44 0.01 1/1");
    ok("az", "", "Code|Rate\n44|0.01\n", "44 0.01 1/1");
    ok("az", "", "sep=;\nCode;Rate\n44;0.01\n", "44 0.01 1/1");
    ok(
        "az",
        r#"{"cap":"2000"}"#,
        "Code,Rate\n44,\"1,000.02\"\n33,1 000.5\n",
        "44 1000.02 1/1; 33 1000.5 1/1",
    );
    ok("az", r#"{"cap":"2000"}"#, "Code;Rate\n44;1.000,02\n", "44 1000.02 1/1");
    no("az", "", "Code,Rate\n44,\"1,234\"\n", 2, "Rate", "decimal");
    ok("az", r#"{"decimal":"comma"}"#, "Code,Rate\n44,\"1,234\"\n", "44 1.234 1/1");
    no(
        "az",
        "",
        "Code,Rate\n44,0.5\n33,\"0,5\"\n",
        3,
        "Rate",
        "decimal points (line 2) and decimal commas (line 3)",
    );
    no("az", "", "Code,Rate\n44,1.5E-02\n", 2, "Rate", "exponent");
    no("az", "", "Code,Rate\n44,-0.01\n", 2, "Rate", "below zero");
    no("az", "", "Code,Rate\n44,1%\n", 2, "Rate", "not a decimal");
    no("az", "", "Code,Rate\n44,\n", 2, "Rate", "no price");
    no("az", "", "Code,Rate\n44,101\n", 2, "Rate", "cap");
    let latin = b"Code,Rate,Destination\n44,\x80 0.01,Cura\xe7ao\n".to_vec();
    assert!(read("az", "", &latin).unwrap_err()[0].message.contains("€"), "the euro sign of Windows-1252");
    let latin = b"Code,Rate,Destination\n44,0.01,Cura\xe7ao\n".to_vec();
    let rows = read("az", "", &latin).unwrap();
    assert_eq!(
        (shown(&rows).as_str(), rows.recognised.format.as_str()),
        ("44 0.01 1/1", "Latin-1 (Windows-1252)")
    );
    let utf_16: Vec<u8> = "Code;Rate\n44;0,01\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(shown(&read("az", "", &[b"\xfe\xff".to_vec(), utf_16].concat()).unwrap()), "44 0.01 1/1");
    assert!(read("az", "", b"PK\x03\x04").unwrap_err()[0].message.contains("workbook"));
}

#[test]
fn lines_above_and_below() {
    ok(
        "az",
        "",
        "Example Ltd,,\nA-Z rates in USD,,\n\nCode,Rate,Name\n44,0.01,UK\n\nTotal: 1 row,,\n* confidential,,\n",
        "44 0.01 1/1",
    );
    ok("az", "", "Valid from:,2027-01-01\nCode,Rate\n44,0.01\n", "44 0.01 1/1 >2027-01-01");
    ok("az", "", "Code,Rate\n44,0.01\nEnd of file\n", "44 0.01 1/1");
    no("az", "", "Currency: EUR,\nCode,Rate\n44,0.01\n", 1, "", "EUR");
    no("az", "", "All calls are billed 60/60,\nCode,Rate\n44,0.01\n", 1, "", "billed");
    ok(
        "az",
        r#"{"ignore":["All calls are billed 60/60"],"terms":"60/60"}"#,
        "All calls are billed 60/60,\nCode,Rate\n44,0.01\n",
        "44 0.01 60/60",
    );
    no(
        "az",
        "",
        "Code,Rate\n44,0.01\n\nSurcharge of 0.05 for calls from outside the EEA\n",
        4,
        "",
        "surcharge",
    );
    no("az", "", "Valid from 05/12/2026\nCode,Rate\n44,0.01\n", 1, "", "two ways");
    // A name alone may be the head of a row that was cut off.
    no("az", "", "Destination,Code,Rate\nUK,44,0.01\nZimbabwe\n", 3, "Code", "1 cells");
    no("az", "", "Destination,Code,Rate\nUnited Kingdom,,\nLondon,4420,0.01\n", 2, "Code", "no dial code");
}

#[test]
fn the_answer_says_what_was_recognised() {
    let text = "Example Ltd;;;\nCode;Rate;Notes;Block Size\n44;0,01;x;\n33;0,02;;\n";
    let r = read("az", r#"{"terms":"60/1"}"#, text.as_bytes()).unwrap().recognised;
    assert_eq!(
        (r.format.as_str(), r.separator.as_str(), r.header_line, r.decimal.as_str()),
        ("UTF-8", ";", 2, "comma")
    );
    assert_eq!((r.zone.as_str(), r.currency.as_str(), r.price_unit.as_str()), ("UTC", "USD", "per_minute"));
    assert_eq!(
        (r.usual_increments.as_str(), r.rows_without_increments, r.rows_without_date, r.rows_read),
        ("60/1", 2, 2, 2)
    );
    let used: Vec<_> = r.columns.iter().map(|(n, u)| (n.as_str(), u.as_str())).collect();
    assert_eq!(used, [("Code", "code"), ("Rate", "rate"), ("Notes", "not read"), ("Block Size", "empty")]);
    assert!(r.notes[0].contains("Example Ltd"), "{:?}", r.notes);
}
