//! The whole relay on loopback: real sockets, both directions, RTP and RTCP, and the media threats (T-RTP).

mod common;

use std::net::{IpAddr, SocketAddr, UdpSocket};

use common::{DEADLINE, Phone, World, answer, both_ways, offer, rtp};
use warp_ng::{Command, Delete, Reply};

#[test]
fn rtp_and_rtcp_both_ways_with_and_without_mux() {
    for connect in [true, false] {
        let world = World::new(|c| {
            c.connect_sockets = connect;
            c.threads = 2;
        });
        for i in 0..4 {
            let id = format!("plain-{i}");
            let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
            world.call(&id, &mut a, &mut b);
            assert!(!a.relay.as_ref().unwrap().mux);
            both_ways(&mut a, &mut b);
        }
        let (mut a, mut b) = (Phone::new("127.0.0.1", true, 1), Phone::new("127.0.0.1", true, 2));
        world.call("muxed", &mut a, &mut b);
        assert!(a.relay.as_ref().unwrap().mux && b.relay.as_ref().unwrap().mux);
        both_ways(&mut a, &mut b);
        world.wait("metrics", |w| {
            w.metric("warp_media_packets_total{direction=\"egress\",path=\"user\"}") >= 5.0 * 42.0
        });
        assert_eq!(world.metric("warp_media_panics_total"), 0.0);
        assert_eq!(world.metric("warp_media_sessions"), 5.0);
        world.relay.stop();
    }
}

#[test]
fn ipv6_call() {
    let world = World::new(|c| c.ips = vec!["::1".parse().unwrap()]);
    let (mut a, mut b) = (Phone::new("::1", false, 1), Phone::new("::1", false, 2));
    world.call("six", &mut a, &mut b);
    assert!(a.relay.as_ref().unwrap().rtp.is_ipv6());
    both_ways(&mut a, &mut b);
}

#[test]
fn t_rtp_01_02_strangers_neither_hear_nor_speak() {
    for connect in [true, false] {
        let world = World::new(|c| c.connect_sockets = connect);
        let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
        let stranger = Phone::new("127.0.0.1", false, 1);
        b.relay = Some(world.sdp(Command::Offer(offer("x", &a.sdp()))));
        // Before the answer, and on both sides: what was queued then must not come out later either, however much it is.
        let open = b.relay.clone().unwrap();
        for s in 0..200 {
            stranger.rtp.send_to(&rtp(2, s), open.rtp).unwrap();
        }
        a.relay = Some(world.sdp(Command::Answer(answer("x", &b.sdp()))));
        let to_a = a.relay.clone().unwrap();
        both_ways(&mut a, &mut b);
        for s in 0..200 {
            // The right SSRC and sequence numbers, even the right address, only the port is another.
            let _ = stranger.rtp.send_to(&rtp(1, a.sequence + 1 + s), to_a.rtp);
            let _ = stranger.rtp.send_to(&rtp(2, b.sequence + 1 + s), open.rtp);
            let _ = stranger.rtcp.send_to(&[0x80, 203, 0, 1, 0, 0, 0, 1], to_a.rtcp);
        }
        // Packets of one socket pass in order: after these, whatever the stranger sent has been judged.
        both_ways(&mut a, &mut b);
        assert!(a.is_quiet() && b.is_quiet(), "injected");
        assert!(stranger.is_quiet(), "bled");
    }
}

#[test]
fn t_rtp_04_a_private_address_is_learnt_from_the_signalling_source_only() {
    let world = World::new(|c| c.ips = vec!["127.0.0.1".parse().unwrap()]);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    a.claimed = Some("192.168.7.7".parse::<IpAddr>().unwrap());
    let mut from_nat = offer("nat", &a.sdp());
    from_nat.received_from = Some("127.0.0.1".parse().unwrap());
    // Loopback counts as private, and two private addresses are no NAT.
    from_nat.flags.sip_source_address = true;
    b.relay = Some(world.sdp(Command::Offer(from_nat)));
    a.relay = Some(world.sdp(Command::Answer(answer("nat", &b.sdp()))));
    let to_a = a.relay.clone().unwrap();
    // Not from the allowed address (another loopback address stands for the rest of the world).
    let stranger = Phone::new("127.0.0.2", false, 1);
    for s in 0..20 {
        stranger.rtp.send_to(&rtp(1, s), to_a.rtp).unwrap();
    }
    for _ in 0..5 {
        let packet = a.send_rtp();
        assert_eq!(b.recv_rtp(), packet);
    }
    // Locked: the other direction finds the learnt address, RTCP follows, the stranger and a second port do not.
    both_ways(&mut a, &mut b);
    let late = Phone::new("127.0.0.1", false, 1);
    for s in 0..20 {
        let _ = late.rtp.send_to(&rtp(1, a.sequence + s), to_a.rtp);
    }
    both_ways(&mut a, &mut b);
    assert!(stranger.is_quiet() && late.is_quiet() && a.is_quiet() && b.is_quiet());
}

/// A call whose caller is behind a NAT: it says a private address, and its packets come from 127.0.0.1.
fn nat_call(world: &World, id: &str, a: &mut Phone, b: &mut Phone) {
    a.claimed = Some("192.168.7.7".parse::<IpAddr>().unwrap());
    let mut from_nat = offer(id, &a.sdp());
    from_nat.received_from = Some("127.0.0.1".parse().unwrap());
    // Loopback counts as private, and two private addresses are no NAT.
    from_nat.flags.sip_source_address = true;
    b.relay = Some(world.sdp(Command::Offer(from_nat)));
    a.relay = Some(world.sdp(Command::Answer(answer(id, &b.sdp()))));
}

#[test]
fn three_packets_of_a_phone_behind_a_nat_open_the_way_back() {
    for connect in [true, false] {
        let world = World::new(|c| c.connect_sockets = connect);
        let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
        nat_call(&world, "punch", &mut a, &mut b);
        let stranger = Phone::new("127.0.0.2", false, 1);
        for s in 0..20 {
            stranger.rtp.send_to(&rtp(1, s), a.relay.as_ref().unwrap().rtp).unwrap();
        }
        for _ in 0..3 {
            let packet = a.send_rtp();
            assert_eq!(b.recv_rtp(), packet);
        }
        // From now on it only listens.
        for _ in 0..10 {
            let packet = b.send_rtp();
            assert_eq!(a.recv_rtp(), packet);
        }
        assert!(stranger.is_quiet() && a.is_quiet() && b.is_quiet());
    }
}

#[test]
fn doubled_packets_are_learnt_from_like_others() {
    let world = World::new(|_| ());
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    nat_call(&world, "doubled", &mut a, &mut b);
    for _ in 0..10 {
        let packet = a.send_rtp();
        a.rtp.send_to(&packet, a.relay.as_ref().unwrap().rtp).unwrap();
        assert_eq!((b.recv_rtp(), b.recv_rtp()), (packet.clone(), packet));
    }
    both_ways(&mut a, &mut b);
}

/// The phone after its NAT has given it another port; the same stream.
fn rebound(a: &Phone) -> Phone {
    Phone { relay: a.relay.clone(), sequence: a.sequence, ..Phone::new("127.0.0.1", false, a.ssrc) }
}

/// Sends from `a` until a packet of it arrives at `b`, and gives how many it took.
fn send_until_heard(a: &mut Phone, b: &Phone) -> u32 {
    let end = std::time::Instant::now() + DEADLINE;
    b.rtp.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
    let mut sent = 0;
    while std::time::Instant::now() < end {
        // Without a receiver on our port a connected socket is told so.
        let packet = a.next_rtp();
        let _ = a.rtp.send_to(&packet, a.relay.as_ref().unwrap().rtp);
        sent += 1;
        if b.rtp.recv(&mut [0; 2_048]).is_ok() {
            b.rtp.set_read_timeout(Some(DEADLINE)).unwrap();
            return sent;
        }
    }
    panic!("never heard after {sent} packets");
}

#[test]
fn t_rtp_04_a_rebound_phone_is_followed_after_the_same_sdp_or_after_two_seconds() {
    for (connect, signalled) in [(true, true), (false, true), (true, false), (false, false)] {
        let world = World::new(|c| c.connect_sockets = connect);
        let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
        nat_call(&world, "rebound", &mut a, &mut b);
        for _ in 0..5 {
            let packet = a.send_rtp();
            assert_eq!(b.recv_rtp(), packet);
        }
        both_ways(&mut a, &mut b);
        if signalled {
            let mut again = offer("rebound", &a.sdp());
            again.received_from = Some("127.0.0.1".parse().unwrap());
            again.flags.sip_source_address = true;
            again.to_tag = Some(b"callee".to_vec());
            world.sdp(Command::Offer(again));
            world.sdp(Command::Answer(answer("rebound", &b.sdp())));
            // What was earned stays until another has earned it.
            let packet = b.send_rtp();
            assert_eq!(a.recv_rtp(), packet);
        }
        let stranger = Phone::new("127.0.0.2", false, 1);
        let begun = std::time::Instant::now();
        let mut moved = rebound(&a);
        let sent = send_until_heard(&mut moved, &b);
        for s in 0..50 {
            stranger.rtp.send_to(&rtp(1, moved.sequence + s), a.relay.as_ref().unwrap().rtp).unwrap();
        }
        assert!(sent >= 5, "a run is five packets, not {sent}");
        if !signalled {
            assert!(begun.elapsed() >= warp_media::learn::MOVE_SILENCE, "{:?}", begun.elapsed());
        }
        let packet = b.send_rtp();
        assert_eq!(moved.recv_rtp(), packet);
        both_ways(&mut moved, &mut b);
        assert!(a.is_quiet() && stranger.is_quiet() && b.is_quiet());
    }
}

#[test]
fn t_rtp_01_02_an_asymmetric_peer_sends_from_another_port_and_receives_where_its_sdp_says() {
    for connect in [true, false] {
        let world = World::new(|c| c.connect_sockets = connect);
        let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
        let mut o = offer("asymmetric", &a.sdp());
        o.flags.asymmetric = true;
        b.relay = Some(world.sdp(Command::Offer(o)));
        a.relay = Some(world.sdp(Command::Answer(answer("asymmetric", &b.sdp()))));
        let to_a = a.relay.clone().unwrap();
        let [sender, late] = [(); 2].map(|()| Phone::new("127.0.0.1", false, 1));
        let stranger = Phone::new("127.0.0.2", false, 1);
        // The other direction does not wait for what is learnt.
        let packet = b.send_rtp();
        assert_eq!(a.recv_rtp(), packet);
        for s in 0..20 {
            stranger.rtp.send_to(&rtp(1, s), to_a.rtp).unwrap();
        }
        for s in 100..110 {
            sender.rtp.send_to(&rtp(1, s), to_a.rtp).unwrap();
            assert_eq!(b.recv_rtp(), rtp(1, s));
        }
        // Locked: another port of the same address is a stranger now, and media still goes to the SDP's port.
        for s in 110..130 {
            let _ = late.rtp.send_to(&rtp(1, s), to_a.rtp);
        }
        sender.rtp.send_to(&rtp(1, 110), to_a.rtp).unwrap();
        assert_eq!(b.recv_rtp(), rtp(1, 110));
        for _ in 0..5 {
            let packet = b.send_rtp();
            assert_eq!(a.recv_rtp(), packet);
        }
        assert!(b.is_quiet() && sender.is_quiet() && late.is_quiet() && stranger.is_quiet());
    }
}

#[test]
fn t_rtp_08_an_rtcp_bye_passes_and_the_call_goes_on() {
    let world = World::new(|_| ());
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("bye", &mut a, &mut b);
    both_ways(&mut a, &mut b);
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 1];
    a.rtcp.send_to(&bye, a.relay.as_ref().unwrap().rtcp).unwrap();
    assert_eq!(b.recv_rtcp(), bye);
    both_ways(&mut a, &mut b);
}

#[test]
fn t_rtp_09_ports_of_an_ended_call_are_closed() {
    let world = World::new(|_| ());
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("ends", &mut a, &mut b);
    both_ways(&mut a, &mut b);
    let port = a.relay.as_ref().unwrap().rtp;
    assert!(world.delete("ends").is_ok());
    world.wait("port closed", |_| {
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        probe.connect(port).unwrap();
        probe.set_read_timeout(Some(DEADLINE)).unwrap();
        // A closed port is refused at once; an open, connected one refuses strangers as well, so bind it.
        let _ = probe.send(b"x");
        UdpSocket::bind(port).is_ok()
    });
    world.wait("metrics", |w| w.metric("warp_media_streams") == 0.0);
    assert_eq!((world.metric("warp_media_sessions"), world.metric("warp_media_ports_used")), (0.0, 0.0));
}

#[test]
fn t_rtp_10_a_call_without_media_is_reported() {
    let world = World::new(|c| c.media_timeout_s = 1);
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("dead", &mut a, &mut b);
    both_ways(&mut a, &mut b);
    assert_eq!(world.timed_out.recv_timeout(DEADLINE).unwrap(), b"dead");
    world.wait("gone", |w| w.metric("warp_media_sessions") == 0.0);
    assert_eq!(world.metric("warp_media_silent_timeouts_total"), 1.0);
    let list = world.relay.control().ask(Command::List { limit: 10 });
    assert_eq!(list, Reply::Calls(vec![]));
}

#[test]
fn t_rtp_11_a_flood_at_one_call_costs_another_nothing() {
    let world = World::new(|_| ());
    let [mut a, mut b, mut c, mut d] = [1, 2, 3, 4].map(|ssrc| Phone::new("127.0.0.1", false, ssrc));
    world.call("flooded", &mut a, &mut b);
    world.call("calm", &mut c, &mut d);
    both_ways(&mut a, &mut b);
    for _ in 0..40 {
        for _ in 0..100 {
            a.send_rtp(); // 4,000 packets from the right source
        }
        let packet = c.send_rtp();
        assert_eq!(d.recv_rtp(), packet);
    }
    world.wait("limit", |w| w.metric("warp_media_packet_errors_total{reason=\"rate\"}") > 0.0);
}

#[test]
fn statistics_count_what_passed() {
    let world = World::new(|_| ());
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 0xA), Phone::new("127.0.0.1", false, 0xB));
    world.call("stats", &mut a, &mut b);
    both_ways(&mut a, &mut b);
    a.sequence += 5; // five packets lost on the way here
    let packet = a.send_rtp();
    assert_eq!(b.recv_rtp(), packet);
    let Reply::Stats(stats) = world.delete("stats") else { panic!("no statistics") };
    assert_eq!((stats.rtp.packets, stats.rtp.bytes), (41, 41 * 172));
    assert_eq!(stats.rtcp.packets, 2);
    let (from_a, from_b) = (stats.figures_from(b"caller"), stats.figures_from(b"callee"));
    assert_eq!((from_a.packets, from_a.lost, from_b.packets, from_b.lost), (21, 5, 20, 0));
    assert!(from_b.mos_x100.unwrap() > from_a.mos_x100.unwrap());
    world.wait("metrics", |w| w.metric("warp_media_stream_mos_count") == 2.0);
    assert_eq!(world.metric("warp_media_packets_lost_total{direction=\"ingress\"}"), 5.0);
}

#[test]
fn a_stream_of_one_side_only_is_counted() {
    let world = World::new(|_| ());
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("one way", &mut a, &mut b);
    for _ in 0..50 {
        let packet = a.send_rtp();
        assert_eq!(b.recv_rtp(), packet);
    }
    assert!(world.delete("one way").is_ok());
    assert_eq!(world.metric("warp_media_one_way_sessions_total"), 1.0);
}

#[test]
fn stopping_ends_threads_and_frees_ports() {
    let world = World::new(|c| c.ng = Some("127.0.0.1:0".parse().unwrap()));
    let (mut a, mut b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
    world.call("stop", &mut a, &mut b);
    both_ways(&mut a, &mut b);
    let (port, ng, control) =
        (a.relay.clone().unwrap().rtp, world.relay.ng_addr().unwrap(), world.relay.control());
    world.relay.stop();
    assert!(UdpSocket::bind(port).is_ok() && UdpSocket::bind(ng).is_ok());
    assert!(!control.ask(Command::Ping).is_ok());
    assert!(!control.ask(Command::Delete(Delete::call("stop"))).is_ok());
}

/// field/media.md, nat-fax-sends-three-indicators: a fax machine behind a NAT sends three indicators and then waits. UDPTL has no SSRC and
/// no sequence that we could read; the way back opens all the same, and a stranger opens nothing.
#[test]
fn three_indicators_of_a_fax_machine_behind_a_nat_open_the_way_back() {
    for connect in [true, false] {
        let world = World::new(|c| c.connect_sockets = connect);
        let (a, b) = (Phone::new("127.0.0.1", false, 1), Phone::new("127.0.0.1", false, 2));
        let stranger = Phone::new("127.0.0.2", false, 3);
        let fax = |phone: &Phone, ip: &str| {
            format!(
                "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=image {} udptl t38\r\na=T38FaxVersion:0\r\n",
                phone.rtp.local_addr().unwrap().port()
            )
        };
        let ask = |command: Command| -> SocketAddr {
            let Reply::Sdp { sdp, .. } = world.relay.control().ask(command) else { panic!("no SDP") };
            let sdp = String::from_utf8(sdp).unwrap();
            let port = sdp.split("m=image ").nth(1).and_then(|m| m.split(' ').next()).unwrap();
            SocketAddr::new("127.0.0.1".parse().unwrap(), port.parse().unwrap())
        };
        let mut from_nat = offer("fax", &fax(&a, "192.168.7.7"));
        from_nat.received_from = Some("127.0.0.1".parse().unwrap());
        // Loopback counts as private, and two private addresses are no NAT.
        from_nat.flags.sip_source_address = true;
        let to_b = ask(Command::Offer(from_nat));
        let to_a = ask(Command::Answer(answer("fax", &fax(&b, "127.0.0.1"))));
        for n in 0..20 {
            stranger.rtp.send_to(&[0, n, 1, 2], to_a).unwrap();
        }
        let heard = |by: &Phone, from: SocketAddr, what: &[u8]| {
            let mut buffer = [0; 64];
            let (n, source) = by.rtp.recv_from(&mut buffer).expect("nothing arrived");
            assert_eq!((&buffer[..n], source), (what, from));
        };
        for n in 0..3 {
            // no-signal, as T.38 §7 has a terminal begin.
            let indicator = [0, n, 1, 0, 0, 0];
            a.rtp.send_to(&indicator, to_a).unwrap();
            heard(&b, to_b, &indicator);
        }
        for n in 0..10 {
            let page = [0, n, 9, 0xC0, 0x01, 0x80, n, n];
            b.rtp.send_to(&page, to_b).unwrap();
            heard(&a, to_a, &page);
        }
        assert!(stranger.is_quiet() && a.is_quiet() && b.is_quiet());
    }
}
