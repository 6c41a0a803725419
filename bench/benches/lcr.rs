//! Routing and rating by function, on a small index (30 vendors × 20,000 prefixes); `--bin lcr` has the figure at size.

use std::sync::{Arc, LazyLock};

use divan::{Bencher, black_box};
use warp_bench::deckgen::{World, directory};
use warp_model::Wall;
use warp_model::hash::SplitMix;
use warp_policy::deck::{ImportOptions, read_text};
use warp_policy::{
    CallInput, LcrIndex, Live, NumberPlan, RateList, Snapshot, TrunkIx, decide, explain, rate_call,
};

const VENDORS: u64 = 30;

struct Small {
    snapshot: Snapshot,
    calls: Vec<(String, String)>,
}

static SMALL: LazyLock<Small> = LazyLock::new(|| {
    let plan = Arc::new(NumberPlan::seed());
    let world = World::new(&plan, 23_500, 7);
    let buy: Vec<RateList> =
        (0..VENDORS).map(|n| RateList { decks: vec![world.vendor_deck(n, 20_000, 7)] }).collect();
    let sell = RateList { decks: vec![world.sell_deck(7)] };
    let index = LcrIndex::build(&buy, &[sell], &plan, Wall(0)).expect("generated decks");
    let rows = directory(VENDORS, 4).build().expect("a generated directory");
    let mut rng = SplitMix::new(1);
    Small {
        snapshot: Snapshot::new(Arc::new(rows), Arc::new(index), plan),
        calls: (0..4_096)
            .map(|_| (world.caller(&mut rng).to_string(), world.called(92, &mut rng).to_string()))
            .collect(),
    }
});

fn input(i: usize) -> CallInput<'static> {
    let (caller, called) = &SMALL.calls[i % SMALL.calls.len()];
    CallInput {
        trunk: TrunkIx(0),
        caller: caller.as_bytes(),
        called: called.as_bytes(),
        at: Wall(0),
        call_hash: i as u64,
        lrn: None,
    }
}

fn main() {
    divan::main();
}

#[divan::bench]
fn decision(b: Bencher) {
    let mut i = 0;
    b.bench_local(|| {
        i += 1;
        decide(black_box(&SMALL.snapshot), &input(i), &Live::default())
    });
}

#[divan::bench]
fn decision_record(b: Bencher) {
    let d = decide(&SMALL.snapshot, &input(1), &Live::default());
    b.bench_local(|| explain(black_box(&SMALL.snapshot), &input(1), &Live::default(), &d));
}

#[divan::bench]
fn rate_an_answered_call(b: Bencher) {
    let (sell, buy) = (0..4_096)
        .find_map(|i| {
            let d = decide(&SMALL.snapshot, &input(i), &Live::default());
            Some((d.sell?, d.result.ok()?.get(0)?.buy?))
        })
        .expect("some call is routed");
    b.bench_local(|| rate_call(black_box(&SMALL.snapshot), &sell, &buy, black_box(61_234)));
}

#[divan::bench]
fn number_as_dialled(b: Bencher) {
    let rules = Default::default();
    b.bench_local(|| SMALL.snapshot.number_plan.dialled(black_box(b"14155550123"), &rules));
}

#[divan::bench(sample_count = 10)]
fn import_10_000_lines(b: Bencher) {
    let mut text = String::from("NPANXX,Inter,Intra,IJ\n");
    for i in 0..10_000 {
        text.push_str(&format!(
            "{},0.00{},0.00{},\n",
            212_200 + i / 10 % 700 + (i % 10) * 1_000,
            i % 90 + 10,
            i % 80 + 10
        ));
    }
    b.bench_local(|| read_text(black_box(text.as_bytes()), &ImportOptions::default()));
}
