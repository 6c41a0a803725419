//! What in a sheet may carry money, dates, scope or removal, kind by kind and with its brothers: read rightly, or refused.

mod reading;

use reading::{no, ok, read, shown};
use warp_model::Currency;
use warp_policy::deck::sheet::SheetOptions;
use warp_policy::deck::{DeckKind, ImportOptions, read_text};

/// Rows under all kinds of dates.
fn dated(rows: &str) -> String {
    format!("Code,Rate,Status,Effective Date,End Date,Withdrawn On,Removed On\n{rows}\n")
}

/// A deck in another currency than the US dollar.
fn in_currency(code: &str, text: &str) -> Result<String, String> {
    let currency: Currency = code.parse().unwrap();
    let options = ImportOptions { kind: DeckKind::Az, currency, ..ImportOptions::default() };
    read_text(text.as_bytes(), &options).map(|r| shown(&r)).map_err(|e| e[0].to_string())
}

#[test]
fn a_status_and_a_date_say_together_until_when_the_price_counts() {
    for (row, want) in [
        // Not carried: a hole from the date of the change on, the price before it.
        ("447,0.02,Discontinued,,,,", "447 blocked"),
        ("447,0.02,Discontinued,,,2026-12-31,", "447 blocked >2026-12-31; 447 0.02 1/1 <2026-12-31"),
        ("447,,Discontinued,,,2026-12-31,", "447 blocked >2026-12-31"),
        ("447,0.0000,Suspended,,,2026-12-31,", "447 blocked >2026-12-31"),
        ("447,N/A,,,,2026-12-31,", "447 blocked >2026-12-31"),
        ("447,0.02,Withdrawn,2026-06-01,,,", "447 blocked >2026-06-01; 447 0.02 1/1 <2026-06-01"),
        ("447,N/A,,2026-06-01,,,", "447 blocked >2026-06-01"),
        (
            "447,0.02,Blocked,2026-06-01,,2026-12-31,",
            "447 blocked >2026-12-31; 447 0.02 1/1 >2026-06-01 <2026-12-31",
        ),
        (
            "447,0.02,Blocked,2026-06-01,2026-08-31,2026-12-31,",
            "447 blocked >2026-12-31; 447 0.02 1/1 >2026-06-01 <2026-09-01",
        ),
        ("447,0.02,,,,2026-12-31,", "447 0.02 1/1 <2026-12-31; 447 blocked >2026-12-31"),
        ("447,0.02,New,,2027-12-31,2026-12-31,", "447 0.02 1/1 <2026-12-31; 447 blocked >2026-12-31"),
        // Removed: a shorter code prices the numbers from the date on.
        ("447,0.02,Deleted,,,,", "-447"),
        ("447,0.02,Deleted,2026-06-01,,,", "447 0.02 1/1 <2026-06-01; -447 >2026-06-01"),
        ("447,-,Deleted,2026-06-01,,,", "-447 >2026-06-01"),
        ("447,0.02,Deleted,,2026-12-31,,", "447 0.02 1/1 <2027-01-01; -447 >2027-01-01"),
        ("447,0.02,Deleted,,,,2026-12-31", "447 0.02 1/1 <2026-12-31; -447 >2026-12-31"),
        (
            "447,0.02,Deleted,2026-01-01,2026-12-31,,",
            "447 0.02 1/1 >2026-01-01 <2027-01-01; -447 >2027-01-01",
        ),
        ("447,0,Ended,2026-01-01,2026-12-31,,", "-447 >2027-01-01"),
        ("447,0.02,,,2026-12-31,,", "447 0.02 1/1 <2027-01-01"),
        ("447,0.02,,,,,2026-12-31", "447 0.02 1/1 <2026-12-31"),
    ] {
        ok("az", "", &dated(row), want);
    }
    for (row, column, words) in [
        // Blocked until then, or from then on?
        ("447,0.02,Discontinued,,2026-12-31,,", "End Date", "until then, or from then on"),
        ("447,0.02,Blocked,2026-01-01,2026-12-31,,", "End Date", "blocked_from"),
        ("447,N/A,,,2026-12-31,,", "End Date", "until then, or from then on"),
        ("447,,Suspended,,,,2026-12-31", "Removed On", "until then, or from then on"),
        // Removed, or not carried?
        ("447,0.02,Deleted,,,2026-12-31,", "Withdrawn On", "removed_from"),
        ("447,0.02,,2026-06-01,,2026-01-01,", "Withdrawn On", "ends before it begins"),
        ("447,0.02,Blocked,2026-06-01,,2026-01-01,", "Withdrawn On", "ends before it begins"),
        ("447,0.02,Deleted,2026-06-01,2026-01-01,,", "End Date", "ends before it begins"),
        // What stands in a row whose price still counts is read as strictly as elsewhere.
        ("447,5%,Deleted,2026-06-01,,,", "Rate", "not a decimal"),
    ] {
        no("az", "", &dated(row), 2, column, words);
    }
    // Columns that ask are no different from words.
    ok(
        "az",
        "",
        "Code,Rate,Blocked,Effective Date\n447,0.02,Yes,2026-06-01\n",
        "447 blocked >2026-06-01; 447 0.02 1/1 <2026-06-01",
    );
    no("az", "", "Code,Rate,Active,End Date\n447,0.02,No,2026-06-01\n", 2, "End Date", "from then on");
    // The upload says what a date means.
    let rows = "Code,Rate,Status,End Date\n447,0.02,Blocked,2026-06-01\n448,0.02,,2026-06-01\n";
    ok(
        "az",
        r#"{"mapping":{"End Date":"blocked_from"}}"#,
        rows,
        "447 blocked >2026-06-01; 448 0.02 1/1 <2026-06-01; 448 blocked >2026-06-01; 447 0.02 1/1 <2026-06-01",
    );
    ok(
        "az",
        r#"{"mapping":{"End Date":"removed_from"}}"#,
        "Code,Rate,End Date\n448,0.02,2026-06-01\n",
        "448 0.02 1/1 <2026-06-01",
    );
}

#[test]
fn another_row_of_the_code_says_its_price_before_the_removal() {
    ok(
        "az",
        "",
        &dated("447,0.02,Unchanged,,,,\n447,0.03,Deleted,2027-01-01,,,"),
        "447 0.02 1/1; -447 >2027-01-01",
    );
    ok(
        "az",
        "",
        &dated("447,0.02,Blocked,2027-01-01,,,\n447,0.02,,2026-01-01,,,"),
        "447 blocked >2027-01-01; 447 0.02 1/1 >2026-01-01",
    );
    ok(
        "az",
        "",
        &dated("447,0.03,New,2027-06-01,,,\n447,0.02,Deleted,2027-01-01,,,"),
        "447 0.03 1/1 >2027-06-01; 447 0.02 1/1 <2027-01-01; -447 >2027-01-01",
    );
    no(
        "az",
        "",
        &dated("447,0.03,Deleted,2027-06-01,,,\n447,0.02,Deleted,2027-01-01,,,"),
        3,
        "Code",
        "also on line 2",
    );
    // A hole begins on the day of another row's price.
    no("az", "", &dated("447,0.02,,,,2027-01-01,\n447,0.03,New,2027-01-01,,,"), 3, "Code", "also on line 2");
}

#[test]
fn dates_above_the_header_are_for_prices_and_begin_a_removal() {
    let sheet = |above: &str, rows: &str| format!("{above}\nCode,Rate,Status,End Date\n{rows}\n");
    let from = |rows: &str| sheet("Valid from 2026-06-01", rows);
    ok("az", "", &from("447,0.02,Deleted,"), "-447 >2026-06-01");
    ok("az", "", &from("447,0.02,Blocked,"), "447 blocked >2026-06-01");
    ok(
        "az",
        "",
        &from("447,0.02,Deleted,2026-12-31"),
        "447 0.02 1/1 >2026-06-01 <2027-01-01; -447 >2027-01-01",
    );
    // The end of the sheet ends prices: it neither delays a removal nor ends a block.
    ok(
        "az",
        "",
        &sheet(
            "Valid until 2026-12-31",
            "44,0.01,,\n447,0.02,Deleted,\n448,0.02,Blocked,\n33,0.01,,2027-12-31",
        ),
        "44 0.01 1/1 <2027-01-01; 448 blocked; 33 0.01 1/1 <2028-01-01; -447",
    );
}

#[test]
fn every_name_of_a_date_has_the_meaning_of_its_word() {
    for name in [
        "Discontinued On",
        "Discontinuation Date",
        "Withdrawn On",
        "Withdrawal Date",
        "Blocked From",
        "Blocked On",
        "Suspended From",
        "Suspended On",
        "Closed On",
        "Closing Date",
        "Inactive From",
        "Deactivation Date",
        "Cease Date",
        "Termination Date",
    ] {
        ok(
            "az",
            "",
            &format!("Code,Rate,{name}\n447,0.02,2026-12-31\n"),
            "447 0.02 1/1 <2026-12-31; 447 blocked >2026-12-31",
        );
    }
    for name in ["Removed On", "Removal Date", "Deleted On", "Deletion Date"] {
        ok("az", "", &format!("Code,Rate,{name}\n447,0.02,2026-12-31\n"), "447 0.02 1/1 <2026-12-31");
    }
    for name in [
        "Expires",
        "Expires On",
        "Expiry Date",
        "End Date",
        "Valid Through",
        "Valid Thru",
        "Valid To",
        "Valid Till",
        "Until",
        "Effective To",
        "Active Until",
        "Stop Date",
    ] {
        ok("az", "", &format!("Code,Rate,{name}\n447,0.02,2026-12-31\n"), "447 0.02 1/1 <2027-01-01");
    }
    for name in ["Suspended Until", "Blocked Until", "Withdrawn Till", "Blocked To"] {
        no("az", "", &format!("Code,Rate,{name}\n447,0.02,2026-12-31\n"), 1, name, "not understood");
    }
}

#[test]
fn the_last_day_counts_whole_in_the_zone_of_the_sheet() {
    let sheet = |text: &str| format!("Code,Rate,From,Until\n447,0.02,2026-12-31,{text}\n");
    for (options, text, want) in [
        ("", "2026-12-31", "2027-01-01"),
        ("", "31.12.2026", "2027-01-01"),
        ("", "46387", "2027-01-01"),
        ("", "31-Dec-2026", "2027-01-01"),
        (r#"{"zone":"-05:00"}"#, "2026-12-31", "2027-01-01T05:00"),
        // A time is a moment; the last minute and second of a day are its end.
        ("", "2026-12-31 18:00", "2026-12-31T18:00"),
        ("", "2027-01-01 00:00", "2027-01-01"),
        ("", "2026-12-31 23:59", "2027-01-01"),
        ("", "2026-12-31 23:59:59", "2027-01-01"),
        ("", "2026-12-31T23:59:59.999Z", "2027-01-01"),
        ("", "2026-12-31 11:59:59 PM", "2027-01-01"),
        ("", "2026-12-31 23:59:59+01:00", "2026-12-31T23:00"),
    ] {
        let from = if options.is_empty() { "2026-12-31" } else { "2026-12-31T05:00" };
        ok("az", options, &sheet(text), &format!("447 0.02 1/1 >{from} <{want}"));
    }
    no("az", "", &sheet("2026-12-30"), 2, "Until", "ends before");
    for above in ["Valid through 2026-12-31", "Prices valid until 31 December 2026", "Expires 2026-12-31"] {
        ok("az", "", &format!("{above}\nCode,Rate\n44,0.01\n"), "44 0.01 1/1 <2027-01-01");
    }
    ok("az", "", "Valid until 2026-12-31 12:00\nCode,Rate\n44,0.01\n", "44 0.01 1/1 <2026-12-31T12:00");
    // The answer says it.
    let notes = |text: &str| read("az", r#"{"zone":"+02:00"}"#, text.as_bytes()).unwrap().recognised.notes;
    let of_end = notes("Code,Rate,End Date\n44,0.01,2026-12-31\n");
    assert!(of_end.iter().any(|n| n.contains("End Date") && n.contains("last day")), "{of_end:?}");
    let of_hole = notes("Code,Rate,Withdrawn On\n44,0.01,2026-12-31\n");
    assert!(of_hole.iter().any(|n| n.contains("Withdrawn On") && n.contains("not carried")), "{of_hole:?}");
    assert!(notes("Code,Rate,End Date\n44,0.01,\n").is_empty());
}

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

const SIGNS: &[char] = &[
    '₹', '₽', '₩', '₺', '₫', '₦', '฿', '₴', '₪', '₱', '₡', '₲', '₵', '₸', '₼', '₾', '₿', '¤', '﷼', '￥',
    '￡', 'ƒ',
];

#[test]
fn a_currency_sign_is_known_or_refused_wherever_it_stands() {
    for sign in SIGNS {
        for name in [format!("Rate ({sign}/min)"), format!("Rate {sign}"), format!("{sign}/min")] {
            let read = read("az", "", format!("Code,{name}\n44,1.25\n").as_bytes());
            let errors = read.map(|r| shown(&r)).expect_err(&name);
            assert_eq!(errors[0].line, 1, "{name}: {errors:?}");
        }
        let fee = format!("Setup Fee ({sign})");
        no("az", "", &format!("Code,Rate,{fee}\n44,0.01,1\n"), 1, &fee, "the deck is in USD");
        for cell in [format!("{sign}1.25"), format!("1.25 {sign}"), format!("{sign} 1.25/min")] {
            let read = read("az", "", format!("Code,Rate\n44,{cell}\n").as_bytes());
            let errors = read.map(|r| shown(&r)).expect_err(&cell);
            assert_eq!((errors[0].line, errors[0].column.as_str()), (2, "Rate"), "{cell}: {errors:?}");
        }
        no("az", "", &format!("All prices in {sign}\nCode,Rate\n44,1.25\n"), 1, "", "above the header");
        no("az", "", &format!("Code,Rate\n44,1.25\n\nPrices: {sign}\n"), 4, "", "below the rows");
        // A mapping knows what a column holds; what its sign is it does not say.
        let mapping = format!(r#"{{"mapping":{{"Rate ({sign})":"rate"}}}}"#);
        let name = format!("Rate ({sign})");
        no("az", &mapping, &format!("Code,{name}\n44,1.25\n"), 1, &name, "the deck is in USD");
    }
    // Cents of the dollar.
    ok("az", "", "Code,Rate (¢/min)\n44,1.25\n", "44 0.0125 1/1");
    ok("az", "", "Code,Rate ¢\n44,1.25\n", "44 0.0125 1/1");
    assert!(in_currency("EUR", "Code,Rate (¢)\n44,1.25\n").is_err());
    no("az", "", "All prices in ¢\nCode,Rate\n44,1.25\n", 1, "", "cents");
    no("az", "", "Code,Rate\n44,1.25¢\n", 2, "Rate", "");
    // Two of them, or one and a code that is not its own.
    for name in
        ["Rate ($/€)", "Rate (€ $)", "Rate ($ EUR)", "Rate (£ USD)", "Rate (‰)", "Rate (A$)", "Rate (R$)"]
    {
        let errors = read("az", "", format!("Code,{name}\n44,1.25\n").as_bytes()).map(|r| shown(&r));
        let errors = errors.expect_err(name);
        assert!(errors.iter().any(|e| (e.line, e.column.as_str()) == (1, name)), "{name}: {errors:?}");
    }
    ok("az", "", "Code,Rate ($ USD)\n44,1.25\n", "44 1.25 1/1");
    assert_eq!(in_currency("EUR", "Code,Rate (€ EUR)\n44,1.25\n").as_deref(), Ok("44 1.25 1/1"));
    assert!(in_currency("EUR", "Code,Rate ($ EUR)\n44,1.25\n").is_err());
    for line in ["Prices in A$", "Prices: HK$", "All rates in R$ per minute", "Prices in CA$"] {
        no("az", "", &format!("{line}\nCode,Rate\n44,1.25\n"), 1, "", "the deck is in USD");
    }
    ok("az", "", "Prices in US$\nCode,Rate\n44,1.25\n", "44 1.25 1/1");
    // Pence are no hundredths of a dollar, and `p` is no short word for `per`.
    no("az", "", "Code,Rate (pence/min)\n44,1.25\n", 1, "Rate (pence/min)", "the deck is in USD");
    assert_eq!(in_currency("GBP", "Code,Rate (pence/min)\n44,1.25\n").as_deref(), Ok("44 0.0125 1/1"));
    assert!(in_currency("GBP", "Code,Rate\n44,1.25p/min\n").is_err());
}

#[test]
fn a_currency_above_the_header_is_the_decks_or_refused() {
    for line in [
        "Currency: Eur",
        "currency: eur",
        "CURRENCY: EUR",
        "Currency: GTQ",
        "Currency GTQ",
        "Currency: gtq",
        "Currency: quetzal",
        "Currency: zorkmid",
        "Currency: USD / EUR",
        "Currency: USD or gtq",
        "Prices in local currency",
        "All rates in eur/min",
        "All rates in Eur per minute",
        "All rates in gtq",
        "Prices in rupees",
        "Prices in Rupees per minute",
        "Rates in Guatemalan quetzales",
        "Prices in zorkmids",
        "Rates quoted in XYZ",
        "zorkmids per minute",
        "zorkmid/min",
        "Amounts in pounds",
        "Rates are quoted in Canadian dollars",
        "Prices in Jamaican Dollars",
        "Prices in CHF",
        "All amounts in swiss francs",
        "Euro rates",
        "Prices in yen",
        "Prices in paise",
        "Devise: EUR",
        "Prices exclude VAT, a surcharge of 0.05 applies",
        "Prices exclude VAT; billed 60/60",
    ] {
        for text in
            [format!("\"{line}\"\nCode,Rate\n44,1.25\n"), format!("Code,Rate\n44,1.25\n\n\"{line}\"\n")]
        {
            let errors = read("az", "", text.as_bytes()).map(|r| shown(&r)).expect_err(line);
            assert!(errors.iter().any(|e| e.message.contains("is not understood:")), "{line}: {errors:?}");
        }
    }
    for line in [
        "Currency: USD",
        "Currency: Usd",
        "currency: usd",
        "Currency = US Dollar",
        "Currency: US Dollars",
        "The currency is USD",
        "All rates in usd/min",
        "ALL RATES IN USD PER MINUTE",
        "All prices are in U.S. Dollars",
        "Prices in US dollars per minute",
        "Prices quoted in United States Dollars",
        "Rates per minute",
        "Prices are per minute",
        "Rate/min",
        "TOP DESTINATIONS",
        "Try our A-Z rates",
        "All destinations",
        "Prices in this sheet are confidential",
        "Prices in the table below",
        "Prices exclude VAT",
        "Prices are net of all taxes",
    ] {
        ok("az", "", &format!("{line}\nCode,Rate\n44,1.25\n"), "44 1.25 1/1");
    }
    for (code, line) in [
        ("EUR", "Currency: Euro"),
        ("EUR", "Prices in euros"),
        ("GBP", "Prices in pounds sterling"),
        ("GBP", "Amounts in pounds"),
        ("PLN", "Prices in zloty"),
        ("GTQ", "Currency: GTQ"),
        ("INR", "Prices in Indian rupees"),
        ("CAD", "Prices in Canadian dollars"),
        ("CHF", "Prices in Swiss francs"),
    ] {
        let text = format!("{line}\nCode,Rate\n44,1.25\n");
        assert_eq!(in_currency(code, &text).as_deref(), Ok("44 1.25 1/1"), "{code}: {line}");
    }
}

#[test]
fn a_unit_in_one_name_is_said_for_all_amounts() {
    no("az", "", "Code,Rate (cents/min),Setup Fee\n44,1.25,1\n", 1, "Setup Fee", "price_unit");
    no("az", "", "Code,Rate,Setup Fee (cents)\n44,1.25,1\n", 1, "Rate", "price_unit");
    no(
        "us",
        "",
        "Prefix,Interstate (cents),Intrastate,IJ\n212555,0.1,0.2,0.2\n",
        1,
        "Intrastate",
        "price_unit",
    );
    no("us", "", "Prefix,Inter per second,Intra\n212555,0.0001,0.0002\n", 1, "Intra", "price_unit");
    no("us", "", "Prefix,Inter,Intra (¢)\n212555,0.1,0.2\n", 1, "Inter", "price_unit");
    let cents = r#"{"price_unit":"cents_per_minute"}"#;
    ok("az", cents, "Code,Rate (cents/min),Setup Fee\n44,1.25,1\n", "44 0.0125 1/1 fee 0.01");
    ok("az", "", "Code,Rate (cents/min),Setup Fee (USD)\n44,1.25,1\n", "44 0.0125 1/1 fee 1");
    ok("az", "", "Code,Rate (cents/min),Setup Fee (cents)\n44,1.25,1\n", "44 0.0125 1/1 fee 0.01");
    ok("az", "", "Code,Rate ($/min),Setup Fee (cents)\n44,1.25,1\n", "44 1.25 1/1 fee 0.01");
    // A price for a second leaves a fee for a call as it is.
    ok("az", "", "Code,Price per second,Setup Fee\n44,0.0001,0.5\n", "44 0.006 1/1 fee 0.5");
    // What has no values says nothing.
    ok("az", "", "Code,Rate (cents/min),Setup Fee\n44,1.25,\n", "44 0.0125 1/1");
    ok("us", "", "Prefix,Rate (cents/min),Interstate\n212555,1.25,\n", "1212555 0.0125 6/6");
}

/// What an upload of last month said is remembered; a sheet that says otherwise wins no route a hundred times too cheap.
#[test]
fn amounts_that_name_a_currency_are_no_cents() {
    let cents = r#"{"price_unit":"cents_per_minute"}"#;
    let unit = "another price unit";
    for name in ["Rate (USD/min)", "Rate (USD)", "USD rate", "Rate, $ per minute", "$/min"] {
        no("az", cents, &format!("Code,\"{name}\"\n44,0.0125\n"), 1, name, unit);
    }
    no("az", cents, "Code,Rate (cents/min),Setup Fee (USD)\n44,1.25,0.5\n", 1, "Setup Fee (USD)", unit);
    no("us", cents, "Prefix,Inter (USD),Intra\n212555,0.01,0.02\n", 1, "Inter (USD)", unit);
    for cell in ["$0.0125", "0.0125 USD", "USD 0.0125/min"] {
        no("az", cents, &format!("Code,Rate\n44,{cell}\n"), 2, "Rate", "whole units");
    }
    no("az", "", "Code,Rate (cents/min)\n44,$1.25\n", 2, "Rate (cents/min)", "whole units");
    for line in ["All rates in USD per minute", "USD/min", "Prices in US dollars per minute"] {
        no("az", cents, &format!("{line}\nCode,Rate\n44,1.25\n"), 1, "", "whole units");
        ok("az", "", &format!("{line}\nCode,Rate\n44,1.25\n"), "44 1.25 1/1");
    }
    // A minute may cost cents, and a currency's hundredth is its own.
    for name in ["Rate per minute", "Rate/min", "Rate (cents)", "Price", "Rate (¢)"] {
        ok("az", cents, &format!("Code,{name}\n44,1.25\n"), "44 0.0125 1/1");
    }
    ok("az", cents, "Currency: USD\nCode,Rate\n44,1.25\n", "44 0.0125 1/1");
    let seconds = r#"{"price_unit":"per_second"}"#;
    no("az", seconds, "Code,Rate (USD/min)\n44,0.0125\n", 1, "Rate (USD/min)", unit);
    ok("az", seconds, "Code,Rate (USD)\n44,0.0001\n", "44 0.006 1/1");
    // Who says that amounts are for a minute says nothing of a fee.
    ok("az", "", "Code,Rate (USD/min),Setup Fee\n44,0.0125,0.5\n", "44 0.0125 1/1 fee 0.5");
}

/// A price that a new one replaces is not taken for it, and is not passed over in silence.
#[test]
fn the_price_until_then_is_told() {
    let text = "Code,Current Rate,New Rate,Effective Date\n44,0.01,0.02,2026-12-15\n";
    let rows = read("az", "", text.as_bytes()).unwrap();
    assert_eq!(shown(&rows), "44 0.02 1/1 >2026-12-15");
    let notes = rows.recognised.notes.join("; ");
    assert!(notes.contains("\"Current Rate\" is not read"), "{notes}");
    let alone = read("az", "", b"Code,Current Rate\n44,0.01\n").unwrap();
    assert_eq!((shown(&alone).as_str(), alone.recognised.notes.len()), ("44 0.01 1/1", 0));
}

/// What a fee for each minute costs is not a fee for a call, and a unit counts in a name that only the mapping knows too.
#[test]
fn a_fee_for_each_minute_is_none_for_a_call() {
    for name in [
        "Surcharge per minute",
        "Surcharge/min",
        "Surcharge (USD/min)",
        "Setup fee per second",
        "Access fee per min",
        "Connection charge, $ per minute",
    ] {
        let column = format!("\"{name}\"");
        no("az", "", &format!("Code,Rate,{column}\n44,0.01,0.05\n"), 1, name, "may carry money");
        ok("az", "", &format!("Code,Rate,{column}\n44,0.01,\n"), "44 0.01 1/1");
    }
    ok("az", "", "Code,Rate per minute,Surcharge (USD)\n44,0.01,0.05\n", "44 0.01 1/1 fee 0.05");
    for name in ["PVP per second", "PVP/sec", "PVP (EUR/s)", "Tarif / sec"] {
        let mapping = format!(r#"{{"mapping":{{"{name}":"rate"}}}}"#);
        let text = format!("Code,{name}\n44,0.0001\n");
        match name.contains("EUR") {
            true => no("az", &mapping, &text, 1, name, "the deck is in USD"),
            false => ok("az", &mapping, &text, "44 0.006 1/1"),
        }
    }
}

/// A remark that begins with it, and a name that ends with it, say that the code is not carried.
#[test]
fn a_removal_in_a_remark_or_behind_a_name_is_not_passed_over() {
    for (name, text) in [
        ("Comment", "Discontinued from 2026-12-01"),
        ("Notes", "BLOCKED until further notice"),
        ("Route", "No access at present"),
        ("Remarks", "not available"),
        ("Destination", "UK Mobile (blocked)"),
        ("Destination", "UK Mobile [Not Available]"),
        ("Destination", "UK Mobile - DISCONTINUED"),
        ("Network", "O2: withdrawn"),
        ("Destination", "UK Mobile (closed)"),
        ("Destination", "UK Mobile - closed"),
        ("Destination", "UK Mobile closed"),
        ("Destination", "UK Mobile BLOCKED"),
        ("Destination", "UK Mobile *blocked*"),
        ("Destination", "UK Mobile no access"),
        ("Destination", "UK Mobile_BLOCKED"),
        ("Destination", "BLOCKED - UK Mobile"),
        ("Destination", "UK (no longer available) Mobile"),
        ("Remarks", "will be closed on 5 Dec"),
        ("Remarks", "currently blocked"),
        ("Remarks", "Closed from 5 Dec"),
        ("Remarks", "closed"),
    ] {
        let sheet = format!("Code,Rate,{name}\n447,0.01,{text}\n");
        no("az", "", &sheet, 2, name, "not carried");
        ok("az", &format!(r#"{{"ignore":["{name}"]}}"#), &sheet, "447 0.01 1/1");
    }
    // What the row says itself is not said against it.
    ok(
        "az",
        "",
        "Destination,Code,Rate,Status,Notes\nUK (blocked),447,0.01,Blocked,Blocked\n",
        "447 blocked",
    );
    ok("az", "", "Destination,Code,Rate,Status\nUK (deleted),447,0.01,Deleted\n", "-447");
    ok("az", "", "Destination,Code,Rate\nUK (blocked),447,N/A\n", "447 blocked");
    for (name, text) in [
        ("Comment", "Calls without a number are blocked"),
        ("Comment", "Closed user groups are dearer"),
        ("Route", "Direct, not blocked"),
        ("Destination", "UK Mobile (O2)"),
        ("Destination", "Blocked"),
        ("Destination", "UK Mobile - Other"),
        ("ISO", "N/A"),
        ("Destination", "Direct, not blocked"),
        ("Destination", "Closed User Group"),
        ("Comment", "Calls without CLI will be blocked"),
        ("Comment", "no longer blocked"),
    ] {
        ok("az", "", &format!("Code,Rate,{name}\n447,0.01,\"{text}\"\n"), "447 0.01 1/1");
    }
}

/// What a remark says of money is refused like the same words below the rows.
#[test]
fn money_in_a_remark_is_not_passed_over() {
    let sheet = |text: &str| format!("Code,Rate,Remarks\n447,0.01,\"{text}\"\n");
    for text in [
        "surcharge 0.05 per call",
        "Surcharge applies",
        "connection fee 0.10",
        "rate 0.05 from 10 Dec",
        "Increase to 0.05 on 2026-12-10",
        "0,05 per minute from January",
        "$0.05 from 10 Dec",
        "0.05 USD for off-net",
        "5% increase",
        "60/60 billing",
        "30/6",
        "billed per 30 s",
        "billed by the second",
        "per second billing",
        "plus 0.5 cent per call",
        "minimum duration 30 s",
        "min 30 sec",
        "charged per started minute",
        "first minute charged in full",
        "First minute in full",
        "rounded up to full minutes",
        "add 2 cents",
        "add 2",
        "+0.02",
        "+1 cent if call shorter than 6s",
        "double price at weekends",
        "Weekends differ",
        "incl. VAT",
        "taxes apply",
        "EUR",
    ] {
        no("az", "", &sheet(text), 2, "Remarks", "ignore the column by name");
        ok("az", r#"{"ignore":["Remarks"]}"#, &sheet(text), "447 0.01 1/1");
    }
    for text in [
        "Rate increase from 2026-12-10",
        "price decrease, see our mail of 05.12.2026",
        "no setup fee",
        "NOC open 24/7",
        "5/12 of our routes",
        "24/6",
        "1/5",
        "v1.2",
        "new",
        "USD",
        "call us",
        "Direct",
        "change of 3 codes",
        "+VAT",
        "excl. VAT",
        "no minimum",
        "USD per minute",
        "PDD below 5 s",
        "+44 7",
        "4 additions",
    ] {
        ok("az", "", &sheet(text), "447 0.01 1/1");
    }
}

/// `4,420` is 4420 to the spreadsheet that wrote it, and would be 4 and 420 to us: the price of a city for every number that begins with 4.
#[test]
fn a_comma_may_separate_thousands_and_then_it_is_no_list() {
    let sheet = |codes: &[&str]| {
        codes.iter().fold("Code,Rate\n".to_owned(), |all, code| format!("{all}\"{code}\",0.01\n"))
    };
    for codes in [&["4,420"][..], &["1,242", "44"], &["447,700,900"], &["44", "49", "4,930"]] {
        let line = 2 + codes.iter().position(|c| c.contains(',')).unwrap() as u64;
        no("az", "", &sheet(codes), line, "Code", "separators of thousands");
    }
    no("us", "", "NPANXX,Rate\n\"201,555\",0.01\n", 2, "NPANXX", "separators of thousands");
    // The other codes tell: one of four digits without a comma, a list that is no number.
    for (codes, want) in [
        (&["995,375", "4420"][..], "995 0.01 1/1; 375 0.01 1/1; 4420 0.01 1/1"),
        (&["995,375", "44, 49"], "995 0.01 1/1; 375 0.01 1/1; 44 0.01 1/1; 49 0.01 1/1"),
        (&["995,375", "30;31"], "995 0.01 1/1; 375 0.01 1/1; 30 0.01 1/1; 31 0.01 1/1"),
        (&["995, 375"], "995 0.01 1/1; 375 0.01 1/1"),
        (&["44,33"], "44 0.01 1/1; 33 0.01 1/1"),
    ] {
        ok("az", "", &sheet(codes), want);
    }
    ok("us", "", "Prefix,Rate\n\"201, 202\",0.01\n", "1201 0.01 6/6; 1202 0.01 6/6");
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
