//! A small carrier, set up through the public API: one customer with a trunk, vendors in order of cost, their decks.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::api::Api;
use super::sipp::Transport;
use super::{Launched, free_port, poll_until};

/// Where customers' SIPp processes live, and vendors'. Different addresses, because trunks are known by address.
pub const CUSTOMER_IP: [u8; 4] = [127, 0, 0, 2];
/// The vendor's address, another loopback address for the same reason as [`CUSTOMER_IP`].
pub const VENDOR_IP: [u8; 4] = [127, 0, 0, 11];

/// One vendor to set up.
pub struct VendorSpec {
    pub slug: &'static str,
    /// Price of a minute, as the deck writes it.
    pub rate: &'static str,
    pub addr: SocketAddr,
    pub transport: Transport,
}

/// A running stack with its carrier.
pub struct Carrier {
    pub launched: Launched,
    pub admin: Api,
    pub customer: Api,
    pub customer_id: String,
    pub trunk: String,
    /// Vendor ids in the order given.
    pub vendors: Vec<String>,
    pub sip: SocketAddr,
    args: Vec<String>,
}

impl Carrier {
    /// Starts `launch all world=none` in `dir` and sets the carrier up. `acl`: the trunk is known by address, else by
    /// digest as `pbx1` / [`PASSWORD`].
    pub fn start(dir: &Path, vendors: &[VendorSpec], acl: bool) -> Carrier {
        Carrier::start_with(dir, vendors, acl, &[])
    }

    /// The same with further `key=value` pairs for the launch.
    pub fn start_with(dir: &Path, vendors: &[VendorSpec], acl: bool, more: &[String]) -> Carrier {
        let mut args: Vec<String> = vec![
            format!("dir={}", dir.join("data").display()),
            format!("sip=127.0.0.1:{}", free_port()),
            format!("api=127.0.0.1:{}", free_port()),
            format!("ops=127.0.0.1:{}", free_port()),
            "ip=127.0.0.1".into(),
            "ports=24000-27999".into(),
            "world=none".into(),
            // Debian's SIPp knows MD5 only, and a dead vendor is given up sooner than in production.
            "sip.digest=[\"md5\"]".into(),
            "sip.first_1xx=500ms".into(),
        ];
        args.extend_from_slice(more);
        let launched = Launched::start("all", &args, &dir.join("warp.log"));
        let admin = Api::new(launched.addr("api"), &launched.ready["operator_key"]);
        let customer = Api::new(launched.addr("api"), &launched.ready["customer_key"]);
        let customer_id = launched.ready["customer"].clone();
        let sip = launched.addr("sip");

        let mut ids = Vec::new();
        for v in vendors {
            let deck = deck(&admin, &format!("buy {}", v.slug), v.rate);
            let vendor =
                admin.post("/admin/vendors", json!({"slug": v.slug, "name": v.slug, "buy_deck_ids": [deck]}));
            let id = vendor["id"].as_str().expect("id").to_owned();
            let transport = if v.transport == Transport::Udp { "udp" } else { "tcp" };
            admin.post(
                &format!("/admin/vendors/{id}/trunks"),
                json!({"name": "main", "addresses": [v.addr.to_string()], "transport": transport}),
            );
            ids.push(id);
        }
        let sell = deck(&admin, "sell", "0.012");
        let members: Vec<Value> = ids.iter().map(|id| json!({"vendor_id": id})).collect();
        let partition = admin.post("/admin/partitions", json!({"name": "premium", "vendors": members}));
        admin.ok(
            "PATCH",
            &format!("/admin/customers/{customer_id}"),
            Some(&json!({"sell_deck_ids": [sell], "partition_id": partition["id"]})),
        );
        let trunk = customer.post("/trunks", json!({"name": "pbx"}));
        let trunk = trunk["id"].as_str().expect("id").to_owned();
        if acl {
            let ip = std::net::IpAddr::from(CUSTOMER_IP).to_string();
            customer.post(&format!("/trunks/{trunk}/ips"), json!({"address": ip}));
        } else {
            customer.post(
                &format!("/trunks/{trunk}/credentials"),
                json!({"username": "pbx1", "password": PASSWORD}),
            );
        }
        let carrier = Carrier { launched, admin, customer, customer_id, trunk, vendors: ids, sip, args };
        carrier.await_routable();
        carrier
    }

    /// Until the published snapshot carries the trunk: the route tester and the proxy decide from the same.
    pub fn await_routable(&self) {
        let routed = poll_until(Duration::from_secs(10), || {
            let (status, answer) = self.route();
            (status == 200
                && answer["data"]["decision"]["candidates"].as_array().is_some_and(|c| !c.is_empty()))
            .then_some(())
        });
        assert!(routed.is_some(), "never routable: {:?}\n{}", self.route(), self.launched.log_tail());
    }

    /// The route tester for the usual numbers.
    pub fn route(&self) -> (u16, Value) {
        let question = json!({"trunk_id": self.trunk, "from": CALLER_E164, "to": CALLED_E164});
        self.admin.send("POST", "/admin/route", Some(&question))
    }

    /// CDRs of the admin's list once there are at least `count`, newest first.
    pub fn calls(&self, count: usize) -> Vec<Value> {
        let found = poll_until(Duration::from_secs(15), || {
            let list = self.admin.get("/admin/calls?limit=200");
            let list = list.as_array().expect("a list").clone();
            (list.len() >= count).then_some(list)
        });
        found.unwrap_or_else(|| {
            let list = self.admin.get("/admin/calls?limit=200");
            panic!("waited for {count} calls, have {list:#}\n{}", self.launched.log_tail())
        })
    }

    /// One call with everything.
    pub fn call(&self, id: &str) -> Value {
        self.admin.get(&format!("/admin/calls/{id}"))
    }

    /// kill −9, and the same again on the same folder.
    pub fn kill_and_restart(self, dir: &Path) -> Carrier {
        let Carrier { launched, customer_id, trunk, vendors, args, .. } = self;
        launched.kill_9();
        let launched = Launched::start("all", &args, &dir.join("warp.log"));
        Carrier {
            admin: Api::new(launched.addr("api"), &launched.ready["operator_key"]),
            customer: Api::new(launched.addr("api"), &launched.ready["customer_key"]),
            sip: launched.addr("sip"),
            launched,
            customer_id,
            trunk,
            vendors,
            args,
        }
    }
}

/// Password of the digest trunk.
pub const PASSWORD: &str = "correct-horse-battery";
/// The usual caller and callee; Washington DC and San Francisco: interstate.
pub const CALLER: &str = "12025550100";
/// The number that tests call, of another state than [`CALLER`].
pub const CALLED: &str = "14155550123";
const CALLER_E164: &str = "+12025550100";
const CALLED_E164: &str = "+14155550123";

/// An active US deck with one price for +1415.
fn deck(admin: &Api, name: &str, rate: &str) -> String {
    let deck = admin.post("/admin/rate-decks", json!({"name": name, "kind": "us"}));
    let id = deck["id"].as_str().expect("id").to_owned();
    let csv =
        format!("Prefix,Interstate,Intrastate,Indeterminate,Increment\n1415,{rate},{rate},{rate},6/6\n");
    admin.ok("POST", &format!("/admin/rate-decks/{id}/versions?activate=true"), Some(&Value::String(csv)));
    id
}
