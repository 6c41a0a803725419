//! Routes of short messages, senders, opt-outs and quiet hours (RFCs 0034 and 0035).

use std::collections::BTreeSet;

use proptest::prelude::*;
use warp_model::{Currency, E164, Money, Nanos, Wall};
use warp_policy::NumberPlan;
use warp_policy::messaging::calendar;
use warp_policy::messaging::optout::{self, Confirmation};
use warp_policy::messaging::quiet::Zone;
use warp_policy::messaging::{
    Direction, Entry, Filter, Input, Keyword, Keywords, Kind, OptOuts, Pattern, QuietHours, Route,
    RouteError, Scope, Senders, Table, Zones, explain,
};

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).expect("a pattern")
}

fn at(text: &str) -> Wall {
    // 2026-11-30T15:04:05
    let n = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("digits");
    let days = calendar::days(n(0..4), n(5..7), n(8..10));
    Wall((days * 86_400 + n(11..13) * 3_600 + n(14..16) * 60 + n(17..19)) * 1_000_000)
}

fn input<'a>() -> Input<'a> {
    Input {
        account: Some(0),
        group: Some(0),
        connector: None,
        source: b"WARP",
        destination: b"491701234567",
        text: Some("hello"),
        tags: &[],
        at: Wall(1_795_353_285_000_000),
        seed: 0,
    }
}

fn table(routes: Vec<Route<u8>>) -> Table<u8> {
    Table::new(Direction::Terminated, routes).expect("a table")
}

fn order(table: &Table<u8>, input: &Input<'_>) -> Option<u16> {
    table.decide(input, |_| true).map(|d| d.route)
}

#[test]
fn the_highest_order_whose_filters_all_fit_is_taken() {
    let german = || Filter::Destination(pattern("^49"));
    let t = table(vec![
        Route::to(0, 0, vec![]),
        Route::to(10, 1, vec![german()]),
        Route::to(30, 3, vec![german(), Filter::User(7)]),
        Route::to(20, 2, vec![Filter::Transparent, Filter::Group(5)]),
    ]);
    assert_eq!(order(&t, &input()), Some(10));
    assert_eq!(order(&t, &Input { account: Some(7), ..input() }), Some(30));
    assert_eq!(order(&t, &Input { account: Some(7), destination: b"+491", ..input() }), Some(30));
    assert_eq!(order(&t, &Input { account: Some(7), destination: b"33612", ..input() }), Some(0));
    assert_eq!(order(&t, &Input { group: Some(5), ..input() }), Some(20));
    assert_eq!(order(&t, &Input { destination: b"4", ..input() }), Some(0), "shorter than the pattern");
}

#[test]
fn each_filter_of_jasmin_fits_what_it_says_and_nothing_else() {
    let tags = ["gold".to_owned(), "otp".to_owned()];
    let base = Input { tags: &tags, ..input() };
    let monday = 20_787; // 2026-11-30
    assert_eq!(calendar::days(2026, 11, 30), monday);
    for (filter, fits, not) in [
        (Filter::User(3), Input { account: Some(3), ..base }, Input { account: Some(4), ..base }),
        (Filter::Group(3), Input { group: Some(3), ..base }, Input { group: None, ..base }),
        (Filter::Source(pattern("^WA.P$")), base, Input { source: b"WARPED", ..base }),
        (
            Filter::Source(pattern("1234")),
            Input { source: b"12345", ..base },
            Input { source: b"01234", ..base },
        ),
        (Filter::Destination(pattern("^49(15|16|17)\\d+$")), base, Input { destination: b"4930123", ..base }),
        (
            Filter::Text(pattern("(?i).*code.*")),
            Input { text: Some("Your CODE is 1"), ..base },
            Input { text: None, ..base },
        ),
        (Filter::Tag("otp".to_owned()), base, Input { tags: &tags[..1], ..base }),
        (
            Filter::Dates(monday, monday),
            Input { at: at("2026-11-30T23:59:59"), ..base },
            Input { at: at("2026-12-01T00:00:00"), ..base },
        ),
        (
            Filter::Times(8 * 3_600, 18 * 3_600),
            Input { at: at("2026-11-30T18:00:00"), ..base },
            Input { at: at("2026-11-30T18:00:01"), ..base },
        ),
        // Over midnight.
        (
            Filter::Times(22 * 3_600, 6 * 3_600),
            Input { at: at("2026-11-30T02:00:00"), ..base },
            Input { at: at("2026-11-30T12:00:00"), ..base },
        ),
    ] {
        assert!(filter.fits(&fits), "{filter:?}");
        assert!(!filter.fits(&not), "{filter:?}");
    }
    let from_vendor = Table::new(Direction::Originated, vec![Route::to(1, 9u8, vec![Filter::Connector(2)])])
        .expect("a table");
    let mo = Input { account: None, group: None, ..base };
    assert_eq!(from_vendor.decide(&Input { connector: Some(2), ..mo }, |_| true).map(|d| d.target), Some(9));
    assert_eq!(from_vendor.decide(&Input { connector: Some(1), ..mo }, |_| true), None);
}

#[test]
fn each_kind_of_route_chooses_as_it_says() {
    let all = vec![Filter::Transparent];
    let usd = |n| Money { amount: Nanos(n), currency: Currency::USD };
    let mut cheap = Route::of(4, Kind::LeastCost, vec![1u8, 2, 3], all.clone());
    cheap.costs = vec![usd(30), usd(10), usd(20)];
    let t = table(vec![cheap]);
    let to = |t: &Table<u8>, up: &[u8], seed| {
        let d = t.decide(&Input { seed, ..input() }, |target| up.contains(&target)).expect("a route");
        (d.target, d.reachable)
    };
    assert_eq!(to(&t, &[1, 2, 3], 0), (2, true), "the cheapest");
    assert_eq!(to(&t, &[1, 3], 0), (3, true), "the cheapest of those that can be reached");
    assert_eq!(to(&t, &[], 0), (2, false), "it waits for the cheapest");

    let t = table(vec![Route::of(4, Kind::Failover, vec![1, 2, 3], all.clone())]);
    assert_eq!(to(&t, &[1, 2, 3], 5), (1, true));
    assert_eq!(to(&t, &[3], 5), (3, true));
    assert_eq!(to(&t, &[], 5), (1, false));

    let t = table(vec![Route::of(4, Kind::RandomRoundRobin, vec![1, 2, 3], all)]);
    let mut counts = [0u32; 4];
    for seed in 0..9_000u64 {
        // Seeds of messages are random.
        let (target, _) = to(&t, &[1, 2, 3], warp_model::hash::SplitMix::new(seed).draw());
        counts[usize::from(target)] += 1;
    }
    assert!(counts[1..].iter().all(|n| (2_700..3_300).contains(n)), "{counts:?}");
    assert_eq!(to(&t, &[1, 2, 3], 4), to(&t, &[1, 2, 3], 4), "the same message goes the same way");
    assert!((0..9).all(|seed| to(&t, &[2], seed) == (2, true)), "one that cannot be reached has no share");
}

#[test]
fn who_was_refused_tries_each_other_target_once() {
    let t = table(vec![Route::of(4, Kind::Failover, vec![1u8, 2, 3], vec![Filter::Transparent])]);
    assert_eq!(t.next(4, 1, 0, |_| true), Some(2));
    assert_eq!(t.next(4, 2, 1, |_| true), Some(3));
    assert_eq!(t.next(4, 3, 2, |_| true), None, "all had their turn");
    assert_eq!(t.next(4, 3, 0, |_| true), Some(1), "who began at the last goes on at the first");
    assert_eq!(t.next(4, 1, 0, |target| target == 3), Some(3));
    assert_eq!(t.next(4, 1, 0, |_| false), None);
    assert_eq!(t.next(4, 1, 0, |target| target == 1), None, "not who refused it");
    assert_eq!(t.next(5, 1, 0, |_| true), None, "a route that is gone");
    assert_eq!(t.next(4, 9, 0, |_| true), Some(1), "a vendor that the route no longer has");
    let one = table(vec![Route::to(0, 1u8, vec![])]);
    assert_eq!(one.next(0, 1, 0, |_| true), None);
}

#[test]
fn tables_that_cannot_be_are_refused_by_name() {
    let any = || vec![Filter::Transparent];
    let usd = Money { amount: Nanos(1), currency: Currency::USD };
    let eur = Money { amount: Nanos(1), currency: "EUR".parse().expect("EUR") };
    let costs = |costs: Vec<Money>| {
        let mut route = Route::of(5, Kind::LeastCost, vec![1u8, 2], any());
        route.costs = costs;
        vec![route]
    };
    let of = |direction, routes: Vec<Route<u8>>| Table::new(direction, routes).err();
    let mt = Direction::Terminated;
    assert_eq!(of(mt, vec![Route::to(5, 1, any()), Route::to(5, 2, any())]), Some(RouteError::Twice(5)));
    assert_eq!(of(mt, vec![Route::of(5, Kind::Failover, vec![], any())]), Some(RouteError::Targets(5)));
    assert_eq!(of(mt, vec![Route::of(5, Kind::Failover, vec![1; 65], any())]), Some(RouteError::Targets(5)));
    assert_eq!(of(mt, vec![Route::of(5, Kind::Static, vec![1, 2], any())]), Some(RouteError::Static(5)));
    assert_eq!(of(mt, vec![Route::to(0, 1, any())]), Some(RouteError::DefaultFiltered));
    assert_eq!(of(mt, vec![Route::to(5, 1, vec![])]), Some(RouteError::Unfiltered(5)));
    assert_eq!(
        of(mt, vec![Route::to(5, 1, vec![Filter::Connector(0)])]),
        Some(RouteError::Direction(5, "connector"))
    );
    for filter in [Filter::User(0), Filter::Group(0), Filter::Tag("x".to_owned())] {
        let name = filter.name();
        let found = of(Direction::Originated, vec![Route::to(5, 1, vec![filter])]);
        assert_eq!(found, Some(RouteError::Direction(5, name)));
    }
    for wrong in [vec![], vec![usd], vec![usd, eur], vec![usd, Money { amount: Nanos(-1), ..usd }]] {
        assert_eq!(of(mt, costs(wrong)), Some(RouteError::Costs(5)));
    }
    for bad in ["(", "(?=x)", "a{1000}{1000}", &"x".repeat(1_025)] {
        let error = Pattern::new(bad).expect_err(bad);
        assert!(error.to_string().contains("the pattern"), "{error}");
    }
}

#[test]
fn a_decision_is_explained_filter_by_filter() {
    let t = table(vec![
        Route::to(0, 0, vec![]),
        Route::of(10, Kind::Failover, vec![1, 2], vec![Filter::Destination(pattern("^49"))]),
        Route::to(40, 3, vec![Filter::Dates(20_787, 20_788)]),
        Route::to(30, 3, vec![Filter::Text(pattern(".*code")), Filter::User(1)]),
        Route::to(20, 3, vec![Filter::User(1)]),
    ]);
    let day = Input { at: at("2026-12-02T12:00:00"), ..input() };
    let name = |n: u8| format!("V{n}");
    let said = explain(&t, &day, |n| n == 2, name, |_| "bar".to_owned());
    assert_eq!(
        said.text(),
        "route 40 static → V3 (not bound): passed over: is for the days 2026-11-30 to 2026-12-01 (UTC)\n\
         route 30 static → V3 (not bound): passed over: the text does not fit .*code\n\
         route 20 static → V3 (not bound): passed over: is for the user bar\n\
         route 10 failover → V1 (not bound), V2: taken\n\
         goes to V2\n"
    );
    assert_eq!(said.json()["target"], "V2");
    let waits = explain(&t, &day, |_| false, name, |_| String::new());
    assert!(waits.text().ends_with("waits for V1: none of the route's targets is bound\n"));
    let nothing = explain(&table(vec![]), &day, |_| true, name, |_| String::new());
    assert_eq!(nothing.text(), "no route fits: refused\n");
}

fn filters() -> impl Strategy<Value = Filter> {
    let digits = prop::sample::select(vec![
        "^4", "^49", "49", "^491", "4|1", "^4?9", "49*1", "^49{2}", "^[1-4]", "^1.*", "^4917$", "(4|1)9",
        "4+9", "",
    ]);
    prop_oneof![
        Just(Filter::Transparent),
        (0usize..3).prop_map(Filter::User),
        (0usize..3).prop_map(Filter::Group),
        digits.prop_map(|text| Filter::Destination(pattern(text))),
        Just(Filter::Source(pattern("^W"))),
    ]
}

proptest! {
    /// The index finds what a walk over all routes finds.
    #[test]
    fn a_table_decides_as_a_walk_over_its_routes_does(
        routes in prop::collection::vec((1u16..200, prop::collection::vec(filters(), 1..4)), 0..20),
        account in 0usize..3,
        group in prop::option::of(0usize..3),
        destination in prop::sample::select(vec!["4", "49", "491", "4917", "49170", "1", "19", "44917", "", "x4", "4949", "4499", "9", "94", "41", "99", "491x"]),
    ) {
        let mut seen = BTreeSet::new();
        let routes: Vec<Route<u8>> = routes.into_iter().filter(|(order, _)| seen.insert(*order))
            .map(|(order, filters)| Route::to(order, 1, filters)).collect();
        let t = table(routes);
        let message = Input { account: Some(account), group, destination: destination.as_bytes(), ..input() };
        let walked = t.routes().iter().find(|r| r.filters.iter().all(|f| f.fits(&message))).map(|r| r.order);
        prop_assert_eq!(order(&t, &message), walked);
        let said = explain(&t, &message, |_| true, |n| n.to_string(), |_| String::new());
        prop_assert_eq!(said.decision.map(|d| d.route), walked);
    }

    #[test]
    fn a_day_is_written_and_read_back(days in -700_000i64..2_900_000) {
        let text = calendar::day(days);
        let n = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("digits");
        let date = if text.starts_with('-') { None } else { Some((n(0..4), n(5..7), n(8..10))) };
        if let Some((year, month, day)) = date {
            prop_assert_eq!((calendar::days(year, month, day), calendar::year_of(days)), (days, year));
        }
    }

    /// Hostile texts find no panic.
    #[test]
    fn any_text_is_read(text in ".{0,80}") {
        let _ = Keywords::default().read(&text);
        let _ = Pattern::new(&text).map(|p| p.fits(text.as_bytes()));
    }
}

#[test]
fn t_sms_07_a_sender_is_owned_in_the_form_that_it_is_written_in() {
    let own = Senders::new(["+12025550100", "12345", "Bank"]);
    for yes in ["12025550100", "+12025550100", "12345", "Bank"] {
        assert!(own.owns(yes.as_bytes()), "{yes}");
    }
    for no in ["2025550100", "BANK", "", "+", "+Bank", "1234", "120255501000"] {
        assert!(!own.owns(no.as_bytes()), "{no}");
    }
}

#[test]
fn keywords_are_whole_messages_in_any_dress() {
    let mut words = Keywords::default();
    for stop in [
        "STOP",
        "stop",
        " Stop. ",
        "\"STOP\"",
        "stop all",
        "Stop-All!",
        "opt out",
        "OPT-OUT",
        "unsubscribe\n",
        "«END»",
    ] {
        assert_eq!(words.read(stop), Some(Keyword::Stop), "{stop}");
    }
    assert_eq!(words.read("yes!"), Some(Keyword::Yes));
    assert_eq!(words.read("UnStop"), Some(Keyword::Start));
    assert_eq!(words.read("info?"), Some(Keyword::Help));
    for none in ["", "...", "please stop", "stopping", "STOP it", &"STOP ".repeat(30)] {
        assert_eq!(words.read(none), None, "{none}");
    }
    words.add("arrêt", Keyword::Stop);
    words.add("stop", Keyword::Help);
    assert_eq!(words.read("ARRÊT"), Some(Keyword::Stop));
    assert_eq!(words.read("stop"), Some(Keyword::Stop), "a usual word cannot be taken away");
}

/// Each state of a recipient with each keyword.
#[test]
fn a_keyword_is_confirmed_once_and_changes_the_list() {
    let (scope, who) = (Scope::Campaign(7), 12_025_550_100);
    let mut list = OptOuts::default();
    let t = Wall;
    let react = |list: &OptOuts, keyword, at| list.react(keyword, (scope, who), None, t(at), 42);
    assert_eq!(react(&list, Keyword::Yes, 1), None, "a yes to a question");
    assert_eq!(react(&list, Keyword::Help, 1).map(|r| (r.entry, r.answer)), Some((None, Confirmation::Help)));
    assert_eq!(
        react(&list, Keyword::Start, 1).map(|r| (r.entry.map(|e| e.out), r.answer)),
        Some((Some(false), Confirmation::OptedIn)),
        "a STOP may be known elsewhere"
    );
    let stop = react(&list, Keyword::Stop, 2).expect("a reaction");
    let entry = Entry { scope, recipient: who, out: true, at: t(2), message: 42 };
    assert_eq!((stop.entry, stop.answer), (Some(entry), Confirmation::OptedOut));
    assert_eq!(list.forbids(&[scope], who), None, "not before it is durable");
    list.apply(entry);
    assert_eq!(list.forbids(&[Scope::Number(1, 1), scope], who), Some(entry));
    assert_eq!(list.forbids(&[Scope::Campaign(8)], who), None, "another campaign");
    assert_eq!(list.forbids(&[scope], who + 1), None, "another recipient");
    assert_eq!(
        react(&list, Keyword::Stop, 3).map(|r| (r.entry, r.answer)),
        Some((Some(Entry { at: t(3), ..entry }), Confirmation::None)),
        "a START may be known elsewhere"
    );
    // What is not in the list yet counts as said; of two the newer one.
    let pending = Some(Entry { out: false, at: t(4), ..entry });
    let stop = list.react(Keyword::Stop, (scope, who), pending, t(3), 42).expect("a reaction");
    assert_eq!((stop.entry.map(|e| e.at), stop.answer), (Some(t(4)), Confirmation::OptedOut));
    let older = Some(Entry { out: false, at: t(1), ..entry });
    let stop = list.react(Keyword::Stop, (scope, who), older, t(3), 42).expect("a reaction");
    assert_eq!(stop.answer, Confirmation::None);
    assert_eq!(react(&list, Keyword::Help, 3).map(|r| r.answer), Some(Confirmation::Help));
    for keyword in [Keyword::Yes, Keyword::Start] {
        let start = react(&list, keyword, 4).expect("a reaction");
        assert_eq!((start.entry.map(|e| e.out), start.answer), (Some(false), Confirmation::OptedIn));
    }
    list.apply(Entry { out: false, at: t(5), ..entry });
    assert_eq!(list.forbids(&[scope], who), None);
    list.apply(entry);
    assert_eq!(list.forbids(&[scope], who), None, "an older entry that is uploaded later");
    assert_eq!(list.entries().len(), 1);
}

/// One meaning: what routes and prices read.
#[test]
fn a_number_is_in_the_list_as_it_is_routed_however_it_is_written() {
    let plan = NumberPlan::seed();
    for (text, international, value) in [
        ("+12025550100", false, 12_025_550_100),
        ("12025550100", true, 12_025_550_100),
        ("12025550100", false, 12_025_550_100),
        ("2025550100", false, 12_025_550_100),
        // Of Denmark and Norway, where the address says that it has its code.
        ("+4522345678", false, 4_522_345_678),
        ("4522345678", true, 4_522_345_678),
        ("+4721234567", false, 4_721_234_567),
        // A short code is what it is.
        ("12345", false, 12_345),
        ("80808", true, 80_808),
    ] {
        assert_eq!(optout::number(&plan, text.as_bytes(), international), Some(value), "{text}");
        if let Ok(routed) = warp_policy::messaging::recipient(&plan, text.as_bytes(), international) {
            assert_eq!(routed.as_u64(), value, "{text}");
        }
    }
    for none in ["", "+", "ACME", "1234567890123456", "12 34", "++1", "012"] {
        assert_eq!(optout::number(&plan, none.as_bytes(), false), None, "{none}");
    }
}

#[test]
fn a_short_code_is_a_sender_and_no_recipient_of_the_list() {
    assert!(
        optout::may_be_listed(100, 10_000) && optout::may_be_listed(999_999_999_999_999, 999_999_999_999_999)
    );
    for (sender, recipient) in
        [(99, 10_000), (100, 9_999), (1_000_000_000_000_000, 10_000), (100, 1_000_000_000_000_000)]
    {
        assert!(!optout::may_be_listed(sender, recipient), "{sender} {recipient}");
    }
}

fn zones(number: u64) -> Option<Zones> {
    Zones::of(E164::from_value(number).expect("a number"), &NumberPlan::seed())
}

#[test]
fn every_state_of_the_plan_has_a_zone() {
    let plan = NumberPlan::seed();
    for npa in 200..1_000u16 {
        let known = plan.npa(npa);
        let Some(state) = known.state.filter(|_| known.us) else { continue };
        let zones = zones(10_000_000_000 + u64::from(npa) * 10_000_000 + 5_550_100).expect("of the plan");
        assert!(zones.zones().len() <= 2, "{npa} {}", state.as_str());
    }
    assert_eq!(zones(12_125_550_100).map(Zones::zones), Some(&[Zone::Eastern][..]));
    assert_eq!(
        zones(18_505_550_100).map(Zones::zones),
        Some(&[Zone::Eastern, Zone::Central][..]),
        "Florida's west"
    );
    assert_eq!(zones(14_155_550_100).map(Zones::zones), Some(&[Zone::Pacific][..]));
    assert_eq!(zones(491_701_234_567), None, "not of the plan");
}

#[test]
fn marketing_waits_for_the_hours_of_the_recipient() {
    let hours = QuietHours::default();
    let from = |zones, now: &str| hours.from(zones, at(now));
    let east = Zones::only(Zone::Eastern);
    // Winter: UTC−5; 8 to 21 is 13 to 2 of the next day.
    assert_eq!(from(east, "2026-11-30T13:00:00"), Some(at("2026-11-30T13:00:00")));
    assert_eq!(from(east, "2026-11-30T12:59:59"), Some(at("2026-11-30T13:00:00")));
    assert_eq!(from(east, "2026-12-01T01:59:59"), Some(at("2026-12-01T01:59:59")));
    assert_eq!(from(east, "2026-12-01T02:00:00"), Some(at("2026-12-01T13:00:00")));
    // Summer: UTC−4.
    assert_eq!(from(east, "2026-07-01T12:00:00"), Some(at("2026-07-01T12:00:00")));
    assert_eq!(from(east, "2026-07-01T01:00:00"), Some(at("2026-07-01T12:00:00")));
    // The night in which the clock goes forward (8 March 2026), and back (1 November): 8:00 is 8:00.
    assert_eq!(from(east, "2026-03-08T02:30:00"), Some(at("2026-03-08T12:00:00")));
    assert_eq!(from(east, "2026-11-01T01:30:00"), Some(at("2026-11-01T13:00:00")));
    assert_eq!(
        from(Zones::only(Zone::MountainStandard), "2026-07-01T14:59:00"),
        Some(at("2026-07-01T15:00:00"))
    );
    // Two zones: what both allow.
    let both = zones(18_505_550_100).expect("zones");
    assert_eq!(from(both, "2026-12-01T13:30:00"), Some(at("2026-12-01T14:00:00")), "8:00 of the western one");
    assert_eq!(
        from(both, "2026-12-02T02:30:00"),
        Some(at("2026-12-02T14:00:00")),
        "21:00 of the eastern one"
    );
    // Half an hour that is never common to Newfoundland and the Pacific.
    let narrow = QuietHours { opens: 9 * 3_600, closes: 9 * 3_600 + 1_800 };
    let anywhere = zones(18_005_550_100).expect("toll-free is of the plan");
    assert_eq!(narrow.from(anywhere, at("2026-12-01T00:00:00")), None);
    // A part of a second is not lost.
    let late = Wall(at("2026-12-01T01:59:59").0 + 500_000);
    assert_eq!(hours.from(east, late), Some(at("2026-12-01T13:00:00")));
}
