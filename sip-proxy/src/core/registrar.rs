//! The registrar and location service (RFC 3261 §10, §16.5): REGISTER of the users of one domain, and requests for them to where they are.
//!
//! It stands beside [`super::proxying`], which carries what is of a dialog, or goes elsewhere. Who is not a known peer signs in for every
//! request that begins something.

use std::time::Duration;

use warp_policy::Snapshot;
use warp_sip::digest::{Algorithm, Ha1};
use warp_sip::flow::{Flow, Transport};
use warp_sip::header::{Header, NameAddr};
use warp_sip::message::{Message, Method};
use warp_sip::registrar::{Binding, Changes, Refused, Registration};
use warp_sip::uri::Uri;
use warp_state::{StateReply, Write};

use super::auth;
use super::forks::{Forks, Way};
use super::ingress::Arrived;
use super::lookups::{Lookups, Step, Waiting};
use super::mirror;
use super::route;
use super::sign_in::Gate;
use super::slab::Id;
use super::timers::Key;
use super::transactions::Transactions;
use super::types::{Accounts, AskId, Bounds, CoreConfig, Mode, Output, Question, RegistrarConfig};

/// What the registrar of one shard holds; the bindings themselves are everybody's ([`super::location`]).
#[derive(Debug)]
pub(super) struct Registrar {
    settings: RegistrarConfig,
    pub(super) forks: Forks,
    lookups: Lookups,
    /// Which part of the table is swept next, once the sweep runs.
    turn: Option<usize>,
}

/// Extensions of a REGISTER that we carry out (RFC 3327, RFC 5626).
const EXTENSIONS: [&[u8]; 2] = [b"path", b"outbound"];
/// Between two looks for expired bindings; each is at one part of the table.
const SWEEP: Duration = Duration::from_secs(1);

impl Registrar {
    /// `None` where nobody registers. With a policy, the digest users of the trunks do, in the domain that is called as the realm.
    pub(super) fn of(config: &CoreConfig) -> Option<Registrar> {
        let settings = match &config.mode {
            Mode::Registrar(settings) => settings.clone(),
            Mode::Policy => RegistrarConfig {
                domain: config.realm.name.clone(),
                accounts: Accounts::OfTrunks,
                bounds: Bounds::default(),
                trusted: Vec::new(),
                shared: None,
            },
            Mode::Static { .. } => return None,
        };
        Some(Registrar { settings, forks: Forks::default(), lookups: Lookups::default(), turn: None })
    }

    /// A new request that is no ACK and no CANCEL. False: it is nothing for us, and may be proxied as it is.
    pub(super) fn request(&mut self, arrived: &Arrived<'_, '_>, tx: &mut Transactions) -> bool {
        let Arrived { flow, msg, plan, stranger, .. } = *arrived;
        if self.settings.accounts == Accounts::OfTrunks {
            // Calls are the policy's.
            let ours = plan.names_us && msg.method() == Method::Register;
            if ours {
                self.register(arrived, tx);
            }
            return ours;
        }
        let known = tx.is_known(flow.remote.ip());
        let ours = tx.is_our_cookie(plan.cookie, msg.call_id());
        if ours || (known && !plan.names_us) {
            return false;
        }
        if !plan.names_us {
            // T-SIP-05: whoever has signed in calls our users, not the world.
            tx.stats.acl += 1;
            tx.refuse(&flow, msg, 403, "", &[], stranger);
        } else if msg.method() == Method::Register {
            self.register(arrived, tx);
        } else if known || self.signed(arrived, Gate::Proxy, tx).is_some() {
            self.deliver(arrived, tx);
        }
        true
    }

    fn signed(&self, arrived: &Arrived<'_, '_>, gate: Gate, tx: &mut Transactions) -> Option<String> {
        let (accounts, realm) = (&self.settings.accounts, tx.config.realm.name.clone());
        let snapshot = tx.snapshot.clone();
        let secret =
            |user: &str, algorithm| secret_of(accounts, snapshot.as_deref(), user, &realm, algorithm);
        tx.sign_in(&arrived.flow, arrived.msg, gate, arrived.stranger, secret)
    }

    /// `user@domain` of a URI that names a user of ours, whatever it calls us; the user unescaped, in its own case.
    fn aor_of(&self, uri: &Uri<'_>, came: &Flow, tx: &Transactions) -> Option<Vec<u8>> {
        let mut buffer = [0; 256];
        let user = uri.user_unescaped(&mut buffer).filter(|user| !user.is_empty())?;
        let here = uri.ip() == Some(came.local.ip().to_canonical());
        if !here && !tx.config.is_us(uri.ip(), uri.host, uri.port) {
            return None;
        }
        // What ends up as a key elsewhere has no control characters (T-SIP-19).
        let plain = !user.iter().any(u8::is_ascii_control);
        plain.then(|| [user, b"@", self.settings.domain.as_bytes()].concat())
    }

    // ---- REGISTER

    fn register(&mut self, arrived: &Arrived<'_, '_>, tx: &mut Transactions) {
        let Arrived { flow, msg, bytes, key, stranger, .. } = *arrived;
        let Some(user) = self.signed(arrived, Gate::Server, tx) else {
            return;
        };
        let unknown: Vec<&[u8]> =
            msg.values(Header::Require).filter(|tag| !EXTENSIONS.iter().any(|e| tag == e)).collect();
        if !unknown.is_empty() {
            let unsupported = unknown.join(&b", "[..]);
            tx.refuse(&flow, msg, 420, "", &[("Unsupported", &unsupported)], stranger);
            return;
        }
        let aor = msg.to().uri().ok().and_then(|uri| self.aor_of(&uri, &flow, tx));
        let Some(aor) = aor else {
            tx.refuse(&flow, msg, 404, "", &[], stranger);
            return;
        };
        // Everybody registers himself and nobody else (RFC 3261 §10.3 step 4).
        let named = aor.strip_suffix(self.settings.domain.as_bytes()).and_then(|a| a.strip_suffix(b"@"));
        if aor != user.as_bytes() && named != Some(user.as_bytes()) {
            tx.stats.acl += 1;
            tx.refuse(&flow, msg, 403, "", &[], stranger);
            return;
        }
        let bounds = self.settings.bounds;
        let asked = match Registration::read(msg, flow, &bounds) {
            Ok(asked) => asked,
            Err(refused) => return self.turn_down(arrived, refused, tx),
        };
        let locations = tx.shared.clone();
        if asked.changes()
            && locations.locations.is_full()
            && locations.locations.look(&aor, tx.now.mono).is_empty()
        {
            return self.come_later(arrived, tx);
        }
        let Some(server) = tx.begin_server(flow, msg, bytes, key, stranger) else {
            tx.on_table_full(&flow, msg, stranger);
            return;
        };
        match self.settings.shared {
            None => {
                let done = self.apply(&aor, &asked, tx);
                self.grant(server, done.map(|(lines, _)| lines), tx);
            }
            Some(by) => {
                let look = Question::Look(mirror::columns_of(&aor, &self.settings.domain));
                let bytes = bytes.to_vec();
                let step = Step::Register;
                self.lookups.wait(Waiting { server, flow, bytes, key, stranger, aor, step }, look, &by, tx);
            }
        }
    }

    /// Changes the bindings of somebody. Gives the header lines of the 200, and what changed.
    fn apply(
        &mut self,
        aor: &[u8],
        asked: &Registration<'_>,
        tx: &mut Transactions,
    ) -> Result<(Lines, Changes), Refused> {
        let (now, bounds) = (tx.now.mono, self.settings.bounds);
        let locations = &tx.shared.locations;
        let done = locations.with(aor, |bindings| {
            let done = match asked.changes() {
                true => bindings.apply(asked, &bounds, now, || locations.new_id()),
                false => Ok(Changes::default()),
            };
            let lines: Lines = bindings
                .alive(now)
                .map(|b| {
                    let mut line = Vec::with_capacity(128);
                    b.write(now, &mut line);
                    ("Contact", line)
                })
                .collect();
            Some(done.map(|changes| (lines, changes)))
        });
        let (mut lines, changes) = done.unwrap_or(Err(Refused::Bad("Contact")))?;
        if !asked.path().is_empty() {
            lines.push(("Path", asked.path().to_vec()));
        }
        if asked.is_outbound() {
            lines.push(("Require", b"outbound".to_vec()));
        }
        lines.push(("Supported", b"path, outbound".to_vec()));
        self.keep_sweeping(tx);
        Ok((lines, changes))
    }

    fn grant(&mut self, server: Id, done: Result<Lines, Refused>, tx: &mut Transactions) {
        match done {
            Ok(lines) => {
                tx.stats.registrations += 1;
                let headers: Vec<(&str, &[u8])> = lines.iter().map(|(n, l)| (*n, &l[..])).collect();
                tx.answer(server, 200, "", &headers);
            }
            Err(refused) => {
                tx.stats.registrations_refused += 1;
                let (status, reason) = refused.status();
                tx.answer(server, status, reason, &[]);
            }
        }
    }

    // ---- registrations that are shared with other nodes

    /// What other nodes know has come, or that it is written; `None`: the time is over.
    pub(super) fn looked(&mut self, id: Id, answer: Option<&StateReply>, tx: &mut Transactions) {
        let Some(waiting) = self.lookups.lend(id) else { return };
        match waiting.step {
            Step::Deliver => {
                self.lookups.remove_lent(id);
                tx.take_in(&waiting.aor, answer);
                self.keep_sweeping(tx);
                waiting.with(tx, |arrived, tx| self.deliver_to(arrived, waiting.server, &waiting.aor, tx));
            }
            Step::Register => {
                tx.take_in(&waiting.aor, answer);
                self.register_now(id, waiting, answer, tx);
            }
            Step::Written(lines) => {
                self.lookups.remove_lent(id);
                self.grant(waiting.server, Ok(lines), tx);
            }
        }
    }

    /// A REGISTER goes on, with all that is known of its user.
    fn register_now(
        &mut self,
        id: Id,
        mut waiting: Waiting,
        answer: Option<&StateReply>,
        tx: &mut Transactions,
    ) {
        let bounds = self.settings.bounds;
        let bytes = std::mem::take(&mut waiting.bytes);
        let read = Message::parse(&bytes).map_err(|_| Refused::Bad("")).and_then(|msg| {
            let asked = Registration::read(&msg, waiting.flow, &bounds)?;
            self.apply(&waiting.aor, &asked, tx)
        });
        let (lines, changes) = match read {
            Ok(done) => done,
            Err(refused) => {
                self.lookups.remove_lent(id);
                return self.grant(waiting.server, Err(refused), tx);
            }
        };
        let write = match self.settings.shared {
            Some(by) => tx.rows_of(&waiting.aor, &self.settings.domain, &changes, &by),
            None => Write::default(),
        };
        let nothing = write == Write::default();
        // Where Redis did not answer the first question in time, nobody waits for a second.
        let wait = !nothing && answer.is_some_and(|a| *a != StateReply::Unavailable) && self.is_through();
        let question = Question::Write { write, wait };
        if wait {
            waiting.step = Step::Written(lines);
            self.lookups.wait_again(id, waiting, question, tx);
            return;
        }
        if !nothing {
            tx.out.push_back(Output::Ask { id: AskId(0), question });
        }
        self.lookups.remove_lent(id);
        self.grant(waiting.server, Ok(lines), tx);
    }

    fn is_through(&self) -> bool {
        self.settings.shared.is_some_and(|by| by.through)
    }

    /// The caller takes back an INVITE that has not gone anywhere yet. False: it has.
    pub(super) fn cancelled(&mut self, server: Id, tx: &mut Transactions) -> bool {
        let waited = self.lookups.cancel(server);
        if waited {
            tx.answer(server, 487, "", &[]);
        }
        waited
    }

    /// Requests that wait for other nodes.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lookups.len()
    }

    fn turn_down(&self, arrived: &Arrived<'_, '_>, refused: Refused, tx: &mut Transactions) {
        tx.stats.registrations_refused += 1;
        let (status, reason) = refused.status();
        let least = self.settings.bounds.min.as_secs().to_string();
        let header = [("Min-Expires", least.as_bytes())];
        let headers = if refused == Refused::TooBrief { &header[..] } else { &[] };
        tx.refuse(&arrived.flow, arrived.msg, status, reason, headers, arrived.stranger);
    }

    /// 503 with a time that differs, so that who waits does not come back together (F-LOAD-02).
    fn come_later(&self, arrived: &Arrived<'_, '_>, tx: &mut Transactions) {
        tx.stats.registrations_refused += 1;
        let seconds = (10 + tx.rng.u64() % 50).to_string();
        let headers = [("Retry-After", seconds.as_bytes())];
        tx.refuse(&arrived.flow, arrived.msg, 503, "", &headers, arrived.stranger);
    }

    fn keep_sweeping(&mut self, tx: &mut Transactions) {
        if self.turn.is_none() {
            self.turn = Some(0);
            tx.wheel.arm(tx.now.mono + SWEEP, Key::Locations);
        }
    }

    /// Forgets expired bindings, until there are none at all.
    pub(super) fn sweep(&mut self, tx: &mut Transactions) {
        let Some(turn) = self.turn.take() else { return };
        let gone = tx.shared.locations.sweep(turn, tx.now.mono);
        if self.settings.shared.is_some() && !gone.is_empty() {
            let removed = gone.iter().map(|b| mirror::removal_of(b, tx.now.mono)).collect();
            let question = Question::Write { write: Write { puts: Vec::new(), removed }, wait: false };
            tx.out.push_back(Output::Ask { id: AskId(0), question });
        }
        if tx.shared.locations.len() > 0 {
            self.turn = Some(turn.wrapping_add(1));
            tx.wheel.arm(tx.now.mono + SWEEP, Key::Locations);
        }
    }

    // ---- requests for users

    fn deliver(&mut self, arrived: &Arrived<'_, '_>, tx: &mut Transactions) {
        let Arrived { flow, msg, bytes, plan, key, stranger } = *arrived;
        if msg.method() == Method::Invite && tx.shared.is_draining() {
            tx.refuse(&flow, msg, 503, "", &[("Retry-After", b"5")], stranger);
            return;
        }
        let Some(aor) = self.aor_of(&plan.uri, &flow, tx) else {
            tx.refuse(&flow, msg, 404, "", &[], stranger);
            return;
        };
        match self.settings.shared {
            Some(by) => {
                let Some(server) = tx.begin_server(flow, msg, bytes, key, stranger) else {
                    tx.on_table_full(&flow, msg, stranger);
                    return;
                };
                if msg.method() == Method::Invite {
                    tx.trying(server, &flow, msg);
                }
                let look = Question::Look(mirror::columns_of(&aor, &self.settings.domain));
                let (bytes, step) = (bytes.to_vec(), Step::Deliver);
                self.lookups.wait(Waiting { server, flow, bytes, key, stranger, aor, step }, look, &by, tx);
            }
            None => {
                let ways = ways_to(&aor, &flow, tx);
                if ways.is_empty() {
                    tx.refuse(&flow, msg, 480, "", &[], stranger);
                    return;
                }
                let Some(server) = tx.begin_server(flow, msg, bytes, key, stranger) else {
                    tx.on_table_full(&flow, msg, stranger);
                    return;
                };
                if msg.method() == Method::Invite {
                    tx.trying(server, &flow, msg);
                }
                self.forks.begin(arrived, server, ways, tx);
            }
        }
    }

    /// All that is known of the user is in memory now.
    fn deliver_to(&mut self, arrived: &Arrived<'_, '_>, server: Id, aor: &[u8], tx: &mut Transactions) {
        let ways = ways_to(aor, &arrived.flow, tx);
        match ways.is_empty() {
            true => tx.answer(server, 480, "", &[]),
            false => self.forks.begin(arrived, server, ways, tx),
        }
    }
}

/// Header lines of a 200 to REGISTER.
type Lines = Vec<(&'static str, Vec<u8>)>;

/// Where the phones of a digest user are, with a policy.
pub(super) fn phones_of(user: &str, flow: &Flow, tx: &mut Transactions) -> Vec<Way> {
    let aor = [user, "@", &tx.config.realm.name].concat();
    ways_to(aor.as_bytes(), flow, tx)
}

fn ways_to(aor: &[u8], flow: &Flow, tx: &mut Transactions) -> Vec<Way> {
    let now = tx.now.mono;
    tx.shared.locations.look(aor, now).into_iter().filter_map(|b| way_to(b, flow, tx)).collect()
}

/// The secret of an account.
fn secret_of(
    accounts: &Accounts,
    snapshot: Option<&Snapshot>,
    user: &str,
    realm: &str,
    algorithm: Algorithm,
) -> Option<Ha1> {
    match accounts {
        Accounts::Derived { prefix } => {
            // Signed as it was typed: some phones write the whole address of record as their name.
            let name = user.split('@').next().filter(|name| !name.is_empty())?;
            let password = format!("{prefix}{name}");
            Some(Ha1::new(algorithm, user.as_bytes(), realm.as_bytes(), password.as_bytes()))
        }
        Accounts::OfTrunks => {
            let directory = &snapshot?.directory;
            let (trunk, _) = directory.digest_user(user)?;
            // Who may not call is not to be called either.
            let customer = directory.customer(directory.customer_of(trunk)?)?;
            let open = directory.trunk(trunk)?.enabled && customer.enabled;
            open.then(|| auth::secret_in(directory, user, algorithm)).flatten()
        }
    }
}

/// Where a binding leads: over its own connection or back through its address translation, else by the first hop of its Path, else where
/// its Contact says. `None`: nowhere that we can reach, or may send to.
fn way_to(binding: Binding, came: &Flow, tx: &mut Transactions) -> Option<Way> {
    let incoming = route::listener_of(&tx.ours, came);
    let (out_by, flow) = if binding.pinned {
        (route::listener_of(&tx.ours, &binding.flow), binding.flow)
    } else {
        let contact = Uri::parse(&binding.contact).ok()?;
        let first = warp_sip::header::Values::new(&binding.path).next();
        let hop = first.and_then(|v| NameAddr::parse(v).ok()).and_then(|a| a.uri().ok());
        let told = route::resolve(&hop.unwrap_or(contact));
        // A name that we cannot look up: whoever registered it is where the REGISTER came from.
        let (transport, remote): (Transport, _) = match told {
            Some(told) => told,
            None if hop.is_none() => (binding.flow.transport, binding.flow.remote),
            None => return None,
        };
        route::way_out(&tx.ours, incoming, came, transport, remote)?
    };
    if route::is_refused(&tx.config, &flow) {
        tx.stats.refused_destination += 1;
        return None;
    }
    let rank = binding.rank();
    let Binding { contact, path, pinned, .. } = binding;
    Some(Way { contact, path, rank, flow, out_by, pinned })
}
