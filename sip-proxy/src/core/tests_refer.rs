//! REFER within a call: what it asks of a vendor would be a call that nobody here has priced (PRODUCT §6).

use warp_policy::directory::DirectoryBuilder;

use super::tests_inbound::{FROM_VENDOR, PBX, back, calls, numbered, world};
use super::tests_static::line;
use super::tests_world::*;

const TO: &str = "Refer-To: <sip:+19005550100@x>\r\n";

fn allowed(rows: &mut DirectoryBuilder) {
    rows.vendor_trunks[0].allow_refer = true;
}

#[test]
fn t_sip_06_a_refer_reaches_a_vendor_only_where_its_trunk_allows_it() {
    for (tweak, passes) in [((|_: &mut DirectoryBuilder| ()) as Tweak, false), (allowed, true)] {
        let mut w = World::new(true, tweak);
        w.give(CUSTOMER, &invite("14155550100", "c1", "", SDP));
        let at_v = w.to(V1);
        w.give(V1, &reply(&at_v, "200 OK", "bt", V1, "", SDP));
        let ok = w.to(CUSTOMER);
        w.give(CUSTOMER, &inside("ACK", &ok, true, "ack", "", ""));
        w.to(V1);
        w.give(CUSTOMER, &inside("REFER", &ok, true, "r1", TO, ""));
        if passes {
            assert_eq!(line(&w.to(V1), "Refer-To"), "<sip:+19005550100@x>");
        } else {
            let out = w.take();
            assert!(out.len() == 1 && out[0].1.starts_with("SIP/2.0 403 "), "{out:#?}");
        }
        // The other way round it asks the customer, who decides himself.
        w.take();
        w.give(V1, &inside("REFER", &ok, false, "r2", TO, ""));
        assert!(w.to(CUSTOMER).starts_with("REFER "));
        assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0), "the call goes on");
    }
}

#[test]
fn t_sip_06_a_called_customer_refers_no_vendor_either() {
    fn open(rows: &mut DirectoryBuilder) {
        numbered(rows);
        allowed(rows);
    }
    for (tweak, passes) in [(numbered as Tweak, false), (open, true)] {
        let mut w = world(tweak);
        w.give(FROM_VENDOR, &calls("14155550199", "c1", ""));
        let at_pbx = w.to(PBX);
        w.give(PBX, &reply(&at_pbx, "200 OK", "bt", PBX, "", SDP));
        let ok = w.to(FROM_VENDOR);
        w.give(FROM_VENDOR, &back(&inside("ACK", &ok, true, "ack", "", "").replace(V1, PBX)));
        w.to(PBX);
        w.give(PBX, &back(&inside("REFER", &ok, false, "r1", TO, "").replace(V1, PBX)));
        if passes {
            assert!(w.to(FROM_VENDOR).starts_with("REFER "));
        } else {
            let out = w.take();
            assert!(out.len() == 1 && out[0].1.starts_with("SIP/2.0 403 "), "{out:#?}");
        }
        assert_eq!((w.core.live_calls(), w.ended.len()), (1, 0));
    }
}
