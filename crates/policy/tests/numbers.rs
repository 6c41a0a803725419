//! Numbers at the edges of their rules: what may be dialled, what a caller may be, which codes have a jurisdiction, and which
//! lines make a number plan.

use warp_model::E164;
use warp_policy::Refusal;
use warp_policy::number_plan::{
    Caller, CallerClass, ClassSet, DestinationClass, DialRules, Dialled, Jurisdiction, JurisdictionRule,
    NpaClass, NumberPlan, State,
};

fn dial_by(text: &str, rules: &DialRules) -> Result<String, Refusal> {
    NumberPlan::seed().dialled(text.as_bytes(), rules).map(|d| match d {
        Dialled::Number { number, rn, npdi } => {
            let rn = rn.map(|r| format!(" rn {r}")).unwrap_or_default();
            format!("{number}{rn}{}", if npdi { " npdi" } else { "" })
        }
        Dialled::Emergency(c) => format!("emergency {c}"),
        Dialled::Service(c) => format!("service {c}"),
    })
}

fn dial(text: &str) -> Result<String, Refusal> {
    dial_by(text, &DialRules::default())
}

/// NANP: `[2-9][0-8]X [2-9]XX XXXX`, the exchange no N11.
#[test]
fn north_american_numbers_have_a_form() {
    for (text, read) in [
        ("2015550123", Ok("+12015550123")),
        ("2012000000", Ok("+12012000000")),
        ("2019999999", Ok("+12019999999")),
        ("2011990123", Err(Refusal::InvalidNumber)),
        ("2012110123", Err(Refusal::InvalidNumber)),
        ("2019110123", Err(Refusal::InvalidNumber)),
        ("2012120123", Ok("+12012120123")),
        ("1995550123", Err(Refusal::InvalidNumber)),
        ("2905550123", Err(Refusal::InvalidNumber)),
        ("2995550123", Err(Refusal::InvalidNumber)),
        ("201555012", Err(Refusal::IncompleteNumber)),
        ("12015550123", Ok("+12015550123")),
        ("+12015550123", Ok("+12015550123")),
        ("+2015550123", Ok("+2015550123")),
        ("+1201555012", Err(Refusal::IncompleteNumber)),
        ("+120155501234", Err(Refusal::InvalidNumber)),
        ("+1", Err(Refusal::IncompleteNumber)),
        ("+12115550123", Err(Refusal::UnassignedNumber)),
    ] {
        assert_eq!(dial(text).as_deref(), read.as_ref().map(|t| *t), "{text}");
    }
}

#[test]
fn numbers_abroad_have_seven_to_fifteen_digits() {
    for (text, read) in [
        ("+4420712", Ok("+4420712")),
        ("+442071", Err(Refusal::IncompleteNumber)),
        ("+442071234567890", Ok("+442071234567890")),
        ("+4420712345678901", Err(Refusal::InvalidNumber)),
        ("0114420712", Ok("+4420712")),
        ("011442071", Err(Refusal::IncompleteNumber)),
        ("442071234567", Ok("+442071234567")),
        ("442071234567890", Ok("+442071234567890")),
        ("4420712345678901", Err(Refusal::InvalidNumber)),
    ] {
        assert_eq!(dial(text).as_deref(), read.as_ref().map(|t| *t), "{text}");
    }
}

#[test]
fn user_parts_are_cleaned_of_separators_and_nothing_else() {
    for (text, read) in [
        ("(201)-555.0123", Ok("+12015550123")),
        ("%32015550123", Ok("+12015550123")),
        ("20155+50123", Err(Refusal::InvalidNumber)),
        ("201 5550123", Err(Refusal::InvalidNumber)),
        ("2015550123%3", Err(Refusal::InvalidNumber)),
        ("*12015550123", Err(Refusal::InvalidNumber)),
        ("2015550123#", Err(Refusal::InvalidNumber)),
        ("+911", Ok("emergency 911")),
        ("933", Ok("emergency 933")),
        ("988", Ok("service 988")),
        ("000", Ok("service 0")),
        ("9#1", Err(Refusal::InvalidNumber)),
        ("0123;phone-context=+144", Err(Refusal::IncompleteNumber)),
        ("2071234567;PHONE-CONTEXT=+44", Ok("+442071234567")),
        ("2015550123;phone-context=example.com", Ok("+12015550123")),
        ("2015550123;phone-context=44", Ok("+12015550123")),
    ] {
        assert_eq!(dial(text).as_deref(), read.as_ref().map(|t| *t), "{text}");
    }
    // The parameters count too: 256 bytes are a user part, 257 are not.
    let padded = |n: usize| format!("2015550123;x={}", "y".repeat(n - 13));
    assert_eq!(padded(256).len(), 256);
    assert_eq!(dial(&padded(256)).as_deref(), Ok("+12015550123"));
    assert_eq!(dial(&padded(257)), Err(Refusal::InvalidNumber));
    // Forty digits are read (with a technical prefix), forty-one are not.
    let long = DialRules { strip: vec!["0".repeat(29)], ..DialRules::default() };
    assert_eq!(dial_by(&format!("{}12015550123", "0".repeat(29)), &long).as_deref(), Ok("+12015550123"));
    assert_eq!(dial_by(&format!("{}212015550123", "0".repeat(29)), &long), Err(Refusal::InvalidNumber));
}

#[test]
fn a_trunks_rules_one_by_one() {
    let rules = |change: fn(&mut DialRules)| {
        let mut r = DialRules::default();
        change(&mut r);
        r
    };
    let away = rules(|r| r.nanp_home = false);
    assert_eq!(dial_by("2015550123", &away).as_deref(), Ok("+2015550123"), "ten digits are E.164");
    assert_eq!(dial_by("12015550123", &away).as_deref(), Ok("+12015550123"));
    assert_eq!(dial_by("4420712", &away).as_deref(), Ok("+4420712"), "and seven are enough");
    // At home, eleven digits are of the plan only behind a 1.
    assert_eq!(dial("44207123456").as_deref(), Ok("+44207123456"));
    assert_eq!(dial("12015550123").as_deref(), Ok("+12015550123"));
    let strict = rules(|r| r.bare_e164 = false);
    assert_eq!(dial_by("44207123456", &strict), Err(Refusal::InvalidNumber));
    assert_eq!(dial_by("442071234567", &strict), Err(Refusal::InvalidNumber));
    assert_eq!(dial_by("+442071234567", &strict).as_deref(), Ok("+442071234567"));
    assert_eq!(dial_by("2015550123", &strict).as_deref(), Ok("+12015550123"));
    let two = rules(|r| r.international = vec!["00".into(), "0011".into()]);
    assert_eq!(dial_by("0044201234567", &two).as_deref(), Ok("+44201234567"));
    assert_eq!(dial_by("001144201234567", &two).as_deref(), Ok("+44201234567"), "the longest");
    // A prefix that looks like a country code comes first.
    let one = rules(|r| r.international = vec!["1".into()]);
    assert_eq!(dial_by("12015550123", &one).as_deref(), Ok("+2015550123"));
    let strip = rules(|r| r.strip = vec!["12".into(), "123".into()]);
    assert_eq!(dial_by("1232015550123", &strip).as_deref(), Ok("+12015550123"));
    assert_eq!(dial_by("2015550123", &strip).as_deref(), Ok("+12015550123"), "not required");
    // A number that begins like the prefix loses it.
    assert_eq!(dial_by("12015550123", &strip), Err(Refusal::IncompleteNumber));
    let trusting = rules(|r| r.trust_rn = true);
    for (rn, read) in [
        ("2015550000", " rn +12015550000"),
        ("12015550000", " rn +12015550000"),
        ("+1-201-555-0000", " rn +12015550000"),
        ("22015550000", ""),
        ("201555000", ""),
        ("+442071234567", ""),
    ] {
        let text = format!("2125550123;rn={rn}");
        assert_eq!(dial_by(&text, &trusting), Ok(format!("+12125550123{read}")), "{rn}");
        assert_eq!(dial(&text).as_deref(), Ok("+12125550123"), "not trusted");
    }
    assert_eq!(dial_by("2125550123;NPDI", &trusting).as_deref(), Ok("+12125550123 npdi"));
    assert_eq!(dial_by("2125550123;rn", &trusting).as_deref(), Ok("+12125550123"));
}

#[test]
fn callers_are_judged_by_what_they_are() {
    let plan = NumberPlan::seed();
    let called: E164 = "+14155550123".parse().unwrap();
    let judge = |text: &str| {
        let Caller { number, class, state } = plan.caller(text.as_bytes(), Some(called));
        (number.map(|n| n.to_string()), class, state.map(|s| s.to_string()))
    };
    let valid = |n: &str, class, state: Option<&str>| (Some(n.to_owned()), class, state.map(str::to_owned));
    let none = |class| (None, class, None);
    for missing in ["", ";x=1", "Anonymous", "RESTRICTED", "unavailable", "Unknown", "unknown;x"] {
        assert_eq!(judge(missing), none(CallerClass::Missing), "{missing}");
    }
    for invalid in
        ["anonymous1", "+14155550123", "2222222222", "+12222222222", "1111111", "911", "4155550123"]
    {
        assert_eq!(judge(invalid), none(CallerClass::Invalid), "{invalid}");
    }
    assert_eq!(judge(&"2".repeat(257)), none(CallerClass::Invalid));
    assert_eq!(judge("2125550100"), valid("+12125550100", CallerClass::Domestic, Some("NY")));
    assert_eq!(judge("+17875550100").1, CallerClass::Domestic);
    assert_eq!(judge("+12045550100"), valid("+12045550100", CallerClass::International, None));
    assert_eq!(judge("+18765550100"), valid("+18765550100", CallerClass::International, None));
    assert_eq!(judge("+442071234567"), valid("+442071234567", CallerClass::International, None));
    assert_eq!(judge("8005550100"), valid("+18005550100", CallerClass::DomesticTollFree, None));
    for odd in ["9005550100", "5005550100", "6005550100"] {
        assert_eq!(judge(odd).1, CallerClass::NonGeographic, "{odd}");
    }
    // Without a called number one's own is as good as any.
    assert_eq!(plan.caller(b"4155550123", None).class, CallerClass::Domestic);
}

/// A caller with a place but no state, a called number without one: indeterminate, with the rule that decided.
#[test]
fn what_cannot_be_placed_is_indeterminate() {
    let plan = NumberPlan::seed();
    let (sf, london): (E164, E164) = ("+14155550123".parse().unwrap(), "+442071234567".parse().unwrap());
    let nowhere = Caller { number: None, class: CallerClass::Domestic, state: None };
    let indeterminate = Some(Jurisdiction::Indeterminate);
    let domestic = DestinationClass::Domestic;
    assert_eq!(
        plan.jurisdiction(&nowhere, sf, domestic),
        (indeterminate, JurisdictionRule::CallerNonGeographic)
    );
    let ny = plan.caller(b"2125550100", None);
    assert_eq!(plan.jurisdiction(&ny, london, domestic), (indeterminate, JurisdictionRule::CalledUnknown));
    // 204 is Canada: it has a province, which is no state.
    assert_eq!(plan.term_state("+12045550123".parse().unwrap()), None);
    assert_eq!(plan.term_state(sf), State::parse("ca"));
    let at = |class, number| plan.jurisdiction_at(State::parse("CA").unwrap(), number, class);
    assert_eq!(at(DestinationClass::TollFree, sf), (indeterminate, JurisdictionRule::CalledTollFree));
    assert_eq!(at(domestic, london), (indeterminate, JurisdictionRule::CalledUnknown));
    assert_eq!(at(DestinationClass::Canada, sf), (None, JurisdictionRule::NotApplicable));
    assert_eq!(
        at(domestic, sf),
        (Some(Jurisdiction::Intrastate), JurisdictionRule::InterconnectionSameState)
    );
    let chicago = "+13125550123".parse().unwrap();
    assert_eq!(
        at(domestic, chicago),
        (Some(Jurisdiction::Interstate), JurisdictionRule::InterconnectionDifferentState)
    );
    for j in [Jurisdiction::Interstate, Jurisdiction::Intrastate, Jurisdiction::Indeterminate] {
        assert_eq!(serde_json::to_value(j).unwrap(), j.as_str());
    }
}

#[test]
fn classes_have_names_and_sets_hold_what_was_put_in() {
    for class in DestinationClass::ALL {
        assert_eq!(DestinationClass::parse(class.as_str()), Some(class));
        assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        let only = ClassSet::of(&[class]);
        assert_eq!(only.iter().collect::<Vec<_>>(), [class]);
        assert_eq!(ClassSet::NONE.with(class), only);
        assert_eq!(only.with(class), only, "twice is once");
    }
    assert_eq!(DestinationClass::parse("Domestic"), None);
    assert_eq!(ClassSet::NONE.iter().count(), 0);
    let two = ClassSet::of(&[DestinationClass::Special, DestinationClass::Domestic]);
    assert_eq!(serde_json::to_string(&two).unwrap(), r#"["domestic","special"]"#);
    for (text, read) in
        [("ca", Some("CA")), ("Ny", Some("NY")), ("C", None), ("CAL", None), ("C1", None), ("1A", None)]
    {
        assert_eq!(State::parse(text).map(|s| s.to_string()).as_deref(), read, "{text}");
    }
    assert_eq!(format!("{:?}", State::parse("tx").unwrap()), "TX");
    assert!(serde_json::from_str::<State>("\"1\"").unwrap_err().to_string().contains("two letters"));
}

#[test]
fn a_number_plan_is_read_line_by_line() {
    let plan = NumberPlan::parse(
        "npa,country,state,class\n201,US,NJ,geographic\n204,CA,MB,geographic\n600,,,special\n201,US,NJ,geographic\n\
         prefix,class,note\n881,satellite,x\n8816,premium,y\n\nemergency,112,999\n",
    )
    .unwrap();
    assert_eq!((plan.npa(201).class, plan.npa(201).us), (NpaClass::Geographic, true));
    assert_eq!((plan.npa(204).us, plan.npa(204).state), (false, State::parse("MB")));
    assert_eq!((plan.npa(600).class, plan.npa(202).class), (NpaClass::Special, NpaClass::Unassigned));
    assert_eq!(plan.npa(1_000).class, NpaClass::Unassigned);
    assert!(plan.is_emergency(112) && plan.is_emergency(999) && !plan.is_emergency(911));
    let class = |n: &str| plan.class(n.parse().unwrap());
    // The longest range counts.
    assert_eq!(class("+881512345678"), Some(DestinationClass::Satellite));
    assert_eq!(class("+881612345678"), Some(DestinationClass::Premium));
    assert_eq!(class("+442071234567"), Some(DestinationClass::International));
    assert_eq!(class("+12015550123"), Some(DestinationClass::Domestic));
    assert_eq!(class("+16005550123"), Some(DestinationClass::Special));
    assert_eq!(class("+12025550123"), None);
    // 976 is a premium exchange of a place, and nothing elsewhere.
    assert_eq!(class("+12019760123"), Some(DestinationClass::Premium));
    assert_eq!(class("+16009760123"), Some(DestinationClass::Special));
    for (code, has) in [
        ("1", true),
        ("12", true),
        ("120", true),
        ("1201", true),
        ("1204", false),
        ("12015", true),
        ("1202", false),
        ("2", false),
        ("44", false),
    ] {
        assert_eq!(plan.code_has_jurisdiction(code.parse().unwrap()), has, "{code}");
    }
    assert_eq!(plan.npa_of("+12015550123".parse().unwrap()).unwrap().state, State::parse("NJ"));
    assert_eq!(plan.npa_of("+442071234567".parse().unwrap()), None);
    assert_eq!(format!("{plan:?}"), "NumberPlan { area_codes: 3, special: 2 }");
    assert_ne!(plan.hash(), NumberPlan::seed().hash());

    for (line, words) in [
        ("199,US,NJ,geographic", "not an area code"),
        ("1000,US,NJ,geographic", "not an area code"),
        ("x,US,NJ,geographic", "not an area code"),
        ("201,US,NJ,elsewhere", "unknown class of area code"),
        ("x,premium,note", "not a dial code"),
        ("44,cheap,note", "unknown destination class"),
        ("emergency,99", "three digits"),
        ("emergency,1000", "three digits"),
        ("emergency,x", "not an emergency code"),
        ("a,b", "unknown line"),
        ("a,b,c,d,e", "unknown line"),
    ] {
        let e = NumberPlan::parse(&format!("npa,x\n\n{line}\n")).unwrap_err();
        assert!(e.line == 3 && e.message.contains(words), "{line}: {e}");
        assert_eq!(e.to_string(), format!("number plan, line 3: {}", e.message));
    }
    for (class, want) in [
        ("toll-free", NpaClass::TollFree),
        ("premium", NpaClass::Premium),
        ("personal", NpaClass::Personal),
        ("us-territory", NpaClass::UsTerritory),
        ("nanp-country", NpaClass::NanpCountry),
    ] {
        let plan = NumberPlan::parse(&format!("200,US,XX,{class}\n999,US,XX,{class}")).unwrap();
        assert_eq!(
            (plan.npa(200).class, plan.npa(999).class, plan.npa(200).us),
            (want, want, false),
            "{class}"
        );
    }
}
