//! Random lives of a zone: rolls, a parent that takes its time, crashes between any two steps, clocks that jump, TTLs that change. At no
//! moment may there be a validator that cannot validate, whatever mix of DS, DNSKEY and signatures is in its cache.

use super::*;

/// Numbers that follow from a seed (xorshift).
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What the zone's servers answered, from a moment on.
#[derive(Debug, Clone, PartialEq)]
struct View {
    keys: BTreeSet<u16>,
    sign_keys: BTreeSet<u16>,
    sign_zone: BTreeSet<u16>,
    dnskey_ttl: u64,
    longest_ttl: u64,
}

impl View {
    fn unsigned(timing: &Timing) -> View {
        let none = BTreeSet::new;
        View { keys: none(), sign_keys: none(), sign_zone: none(), dnskey_ttl: 0, longest_ttl: timing.longest_ttl.into() }
    }
}

/// Things that were served one after the other, each with its first minute.
type History<T> = Vec<(u64, T)>;

struct Life {
    draws: Draws,
    /// Minutes that have really passed.
    minute: u64,
    /// What the server's clock shows beyond them, in minutes.
    ahead: i64,
    /// While it is down: nothing.
    running: Option<ZoneKeys>,
    disk: (ZoneKeys, Option<Watched>),
    run: u64,
    timing: Timing,
    views: History<View>,
    parent: History<BTreeSet<u16>>,
    made: u32,
    /// Whether the zone leaves DNSSEC now and then.
    leaves: bool,
    /// Whether it has left, and its keys wait for another day.
    left: bool,
}

/// Where a server may die.
const CRASHES: u64 = 40;
/// How long a life is.
const DAYS: u64 = 60;
/// Minutes from one look to the next.
const TICK: u64 = 10;

impl Life {
    fn new(seed: u64, roles: &[KeyRole], leaves: bool) -> Life {
        let keys: Vec<(KeyRole, PrivateKey)> = roles.iter().zip(1..).map(|(role, n)| (*role, key(n))).collect();
        let keys: Vec<(KeyRole, &PrivateKey)> = keys.iter().map(|(role, key)| (*role, key)).collect();
        let timing = Timing { zsk_lifetime: Duration::from_secs(5 * 86_400), ..TIMING };
        let begun = ZoneKeys::begin(&keys, false, &timing, START).unwrap();
        let draws = Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (views, parent) = (vec![(0, View::unsigned(&timing))], vec![(0, BTreeSet::new())]);
        Life {
            draws,
            minute: 10_000,
            ahead: 0,
            running: None,
            disk: (begun, None),
            run: 1,
            timing,
            views,
            parent,
            made: 1000,
            leaves,
            left: false,
        }
    }

    fn clock(&self) -> Timestamp {
        Timestamp(START.0.saturating_add_signed((self.minute as i64 + self.ahead) * 60_000))
    }

    fn watched(&self) -> Watched {
        Watched { run: self.run, seen: self.clock() }
    }

    /// Answers show the keys.
    fn publish(&mut self, keys: &ZoneKeys) {
        let signing = keys.signing(&Name::parse("a.test").unwrap(), self.timing.dnskey_ttl);
        let tags = |which: fn(&ZoneKey) -> bool| signing.keys.iter().filter(|key| which(key)).map(|key| key.tag).collect();
        let signed = View {
            keys: tags(|key| key.published),
            sign_keys: tags(|key| key.signs_keys),
            sign_zone: tags(|key| key.signs_zone),
            dnskey_ttl: self.timing.dnskey_ttl.into(),
            longest_ttl: self.timing.longest_ttl.into(),
        };
        let view = if self.left { View::unsigned(&self.timing) } else { signed };
        if self.views.last().unwrap().1 != view {
            self.views.push((self.minute, view));
        }
    }

    /// Written down, published, confirmed; or the server dies on the way.
    fn effect(&mut self, mut keys: ZoneKeys) {
        keys.check().unwrap();
        if self.draws.one_in(CRASHES) {
            self.running = None;
            return;
        }
        keys.watch(self.watched());
        self.disk.0 = keys.clone();
        if self.draws.one_in(CRASHES) {
            self.running = None;
            return;
        }
        self.publish(&keys);
        if self.draws.one_in(CRASHES) {
            self.running = None;
            return;
        }
        keys.confirm(self.clock());
        self.disk = (keys.clone(), Some(self.watched()));
        self.running = Some(keys);
    }

    /// Serves the zone unsigned, then writes its keys down as if they were new; or dies on the way.
    fn let_go(&mut self, mut keys: ZoneKeys) {
        self.left = true;
        self.publish(&keys);
        self.running = None;
        if !self.draws.one_in(CRASHES) {
            keys.begin_again();
            keys.watch(self.watched());
            self.disk.0 = keys.clone();
            self.running = Some(keys);
        }
    }

    fn tick(&mut self) {
        self.minute += TICK;
        let Some(mut keys) = self.running.clone() else {
            if self.draws.one_in(3) {
                self.start();
            }
            return self.parent();
        };
        if self.left {
            if self.draws.one_in(100) {
                self.left = false;
                self.effect(keys);
            }
            return;
        }
        if keys.is_leaving() && keys.free_from(&self.timing).is_some_and(|free| free <= self.clock()) {
            return self.let_go(keys);
        }
        if self.leaves && !keys.is_leaving() && self.draws.one_in(1000) {
            keys.leave(true);
            return self.effect(keys);
        }
        if self.draws.one_in(2000) {
            self.running = None;
            return;
        }
        if self.draws.one_in(2) {
            self.disk.1 = Some(self.watched());
        }
        if self.draws.one_in(500) {
            self.timing.dnskey_ttl = [300, 3600, 7200][self.draws.below(3) as usize];
            self.timing.longest_ttl = [60, 7200, 86_400][self.draws.below(3) as usize];
            keys.observe(&self.timing, self.clock());
            return self.effect(keys);
        }
        if let Some(step) = keys.due(&self.timing, self.clock()) {
            if step == Step::Introduce {
                self.made += 1;
                keys.roll(KeyRole::Zsk, &key(self.made), self.clock()).unwrap();
            }
            keys.take(step);
            self.effect(keys);
        } else if self.draws.one_in(100) {
            let role = [KeyRole::Ksk, KeyRole::Zsk, KeyRole::Csk][self.draws.below(3) as usize];
            self.made += 1;
            if keys.roll(role, &key(self.made), self.clock()).is_ok() {
                self.effect(keys);
            }
        }
        self.parent();
    }

    fn start(&mut self) {
        if self.draws.one_in(3) {
            // Hours, or years, in either direction.
            let most = if self.draws.one_in(2) { 600 } else { 1_000_000 };
            self.ahead = self.draws.below(2 * most) as i64 - most as i64;
        }
        self.run += 1;
        let (mut keys, last) = self.disk.clone();
        keys.check().unwrap();
        keys.resume(last, self.watched());
        if self.left {
            return self.let_go(keys);
        }
        keys.observe(&self.timing, self.clock());
        self.effect(keys);
    }

    /// The parent does what the CDS asks for, when it likes; somebody looks whether it has.
    fn parent(&mut self) {
        let Some(mut keys) = self.running.clone() else { return };
        if keys.is_leaving() {
            match (keys.awaits() == Some(Awaited::NoDs) && self.draws.one_in(20), self.parent.last().unwrap().1.is_empty()) {
                (false, _) => {}
                (true, false) => self.parent.push((self.minute, BTreeSet::new())),
                (true, true) => {
                    keys.ds_gone(self.clock()).unwrap();
                    self.effect(keys);
                }
            }
            return;
        }
        let Some(asked) = keys.asked_for().filter(|key| key.stage == KeyStage::Submitted && key.since.is_some()) else { return };
        let wanted = BTreeSet::from([asked.tag]);
        if self.parent.last().unwrap().1 == wanted {
            if self.draws.one_in(20) {
                let tag = asked.tag;
                keys.ds_seen(tag).unwrap();
                self.effect(keys);
            }
        } else if self.draws.one_in(20) {
            self.parent.push((self.minute, wanted));
        }
    }

    /// Whether every validator validates, whatever it fetched when.
    fn verdict(&self) -> Result<usize, String> {
        let minutes = |seconds: u64| seconds / 60;
        let (propagation, parent) = (minutes(self.timing.propagation.as_secs()), minutes(self.timing.parent_propagation.as_secs()));
        // From when until when something can be in a cache.
        fn span<T>(history: &History<T>, n: usize, more: u64) -> (u64, u64) {
            (history[n].0, history.get(n + 1).map_or(u64::MAX, |next| next.0 + more))
        }
        let mut mixes = 0;
        for (d, (_, ds)) in self.parent.iter().enumerate().filter(|(_, (_, ds))| !ds.is_empty()) {
            let ds_span = span(&self.parent, d, parent + minutes(self.timing.ds_ttl.into()));
            for (k, (_, keys)) in self.views.iter().enumerate() {
                let keys_span = span(&self.views, k, propagation + minutes(keys.dnskey_ttl));
                if ds_span.0.max(keys_span.0) >= ds_span.1.min(keys_span.1) {
                    continue;
                }
                if !ds.iter().any(|tag| keys.keys.contains(tag) && keys.sign_keys.contains(tag)) {
                    return Err(format!("DS {ds:?} of {ds_span:?} leads to none of {keys:?} of {keys_span:?}"));
                }
                // Who followed the DS at the last moment remembers the keys for as long as their own TTL.
                let known = keys_span.1.min(ds_span.1.saturating_add(minutes(keys.dnskey_ttl)));
                for (z, (_, zone)) in self.views.iter().enumerate() {
                    let zone_span = span(&self.views, z, propagation + minutes(zone.longest_ttl));
                    let begin = ds_span.0.max(keys_span.0).max(zone_span.0);
                    if begin >= known.min(zone_span.1) {
                        continue;
                    }
                    mixes += 1;
                    if zone.sign_zone.is_disjoint(&keys.keys) {
                        return Err(format!("{keys:?} of {keys_span:?} do not validate {zone:?} of {zone_span:?}"));
                    }
                }
            }
        }
        Ok(mixes)
    }
}

fn live(seed: u64, roles: &[KeyRole], leaves: bool, spoil: impl Fn(&mut Timing)) -> (Result<usize, String>, usize) {
    let mut life = Life::new(seed, roles, leaves);
    let honest = life.timing;
    spoil(&mut life.timing);
    for _ in 0..DAYS * 24 * 60 / TICK {
        life.tick();
    }
    let removed = life.views.windows(2).filter(|pair| !pair[0].1.keys.is_subset(&pair[1].1.keys)).count();
    (life.timing.propagation, life.timing.parent_propagation, life.timing.ds_ttl) =
        (honest.propagation, honest.parent_propagation, honest.ds_ttl);
    (life.verdict(), removed)
}

#[test]
fn every_validator_validates_at_every_moment() {
    let (mut mixes, mut rolls) = (0, 0);
    for seed in 1..=60 {
        for roles in [&[KeyRole::Csk][..], &[KeyRole::Ksk, KeyRole::Zsk]] {
            for leaves in [false, true] {
                let (verdict, removed) = live(seed, roles, leaves, |_| {});
                mixes += verdict.unwrap_or_else(|said| panic!("seed {seed}, {roles:?}, leaves: {leaves}: {said}"));
                rolls += removed;
            }
        }
    }
    assert!(mixes > 5000 && rolls > 300, "{mixes} mixes of caches, {rolls} keys that went");
}

#[test]
fn a_wait_that_is_too_short_is_noticed() {
    let noticed = |spoil: &dyn Fn(&mut Timing), roles: &[KeyRole]| (1..=40).any(|seed| live(seed, roles, false, spoil).0.is_err());
    let zero = Duration::ZERO;
    assert!(noticed(&|timing| timing.propagation = zero, &[KeyRole::Ksk, KeyRole::Zsk]), "Ipub and Iret of a ZSK");
    assert!(noticed(&|timing| timing.propagation = zero, &[KeyRole::Csk]), "Ipub of a CSK");
    assert!(noticed(&|timing| (timing.ds_ttl, timing.parent_propagation) = (60, zero), &[KeyRole::Ksk, KeyRole::Zsk]), "Iret of a KSK");
}
