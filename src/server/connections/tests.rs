//! Who has to go, and when, on a clock that is turned by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Connections, Limits, Place, Waiting};

/// Connections whose clock is turned by hand, and who of them is still in.
struct House {
    connections: Arc<Connections>,
    begin: Instant,
    places: Vec<Place>,
}

impl House {
    fn new(overall: usize, per_client: usize) -> House {
        let limits = Limits { overall, per_client, idle: Duration::from_millis(1000) };
        House { connections: Arc::new(Connections::new(limits)), begin: Instant::now(), places: Vec::new() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.begin + Duration::from_millis(ms)
    }

    fn enter(&mut self, client: &str, ms: u64) {
        let place = self.connections.enter(client.parse().unwrap(), self.at(ms)).unwrap();
        self.places.push(place);
    }

    fn inside(&self) -> Vec<usize> {
        let open = self.connections.lock();
        self.places.iter().enumerate().filter(|(_, p)| open.all.get(p.ticket).is_some()).map(|(n, _)| n).collect()
    }
}

#[test]
fn one_host_is_one_client_whatever_its_addresses() {
    // Each in turn, with who is left when there is one connection for each client.
    let mut house = House::new(9, 1);
    let steps: [(&str, &[usize]); 6] = [
        ("2001:db8::1", &[0]),
        ("2001:db8::2", &[1]),
        ("2001:db8:0:1::1", &[1, 2]),
        ("192.0.2.1", &[1, 2, 3]),
        ("::ffff:192.0.2.1", &[1, 2, 4]),
        ("192.0.2.2", &[1, 2, 4, 5]),
    ];
    for (client, inside) in steps {
        house.enter(client, 0);
        assert_eq!(house.inside(), inside, "{client}");
    }
}

#[test]
fn a_full_house_displaces_the_longest_idle_and_a_greedy_client_its_own() {
    let mut house = House::new(4, 2);
    for (client, ms) in [("192.0.2.1", 0), ("192.0.2.1", 10), ("192.0.2.2", 20), ("192.0.2.3", 30)] {
        house.enter(client, ms);
    }
    for (n, ms) in [(2, 40), (0, 50), (3, 60)] {
        house.places[n].touch(house.at(ms));
    }
    house.places[1].touch(house.at(70));
    house.enter("192.0.2.1", 80);
    assert_eq!(house.inside(), [1, 2, 3, 4], "the longest idle of its own, though another is so for longer");
    house.enter("192.0.2.4", 90);
    assert_eq!(house.inside(), [1, 3, 4, 5], "the longest idle of all");
    let stats = house.connections.stats();
    assert_eq!((stats.open, stats.accepted, stats.displaced, stats.displaced_by_own), (4, 6, 1, 1));
    // Dropping a displaced place does not count twice.
    house.places.clear();
    assert_eq!(house.connections.stats().open, 0);
    assert!(house.connections.lock().by_client.is_empty());
    assert!(!house.connections.make_room(house.begin));
}

#[test]
fn those_who_never_ask_displace_each_other_and_not_those_who_did() {
    let mut house = House::new(8, 100);
    for n in 0..4 {
        house.enter("192.0.2.1", n);
        house.places[n as usize].touch(house.at(n));
    }
    // A storm of silent connections, all of them after the last of those answers.
    (0..1000).for_each(|n| house.enter("192.0.2.2", 10 + n));
    assert_eq!(house.inside(), [0, 1, 2, 3, 1000, 1001, 1002, 1003]);
    // While they are not the most, the longest idle goes: they do not displace each other before they could ask.
    house.places[1000].touch(house.at(2000));
    house.enter("192.0.2.3", 2000);
    assert_eq!(house.inside(), [1, 2, 3, 1000, 1001, 1002, 1003, 1004]);
    house.enter("192.0.2.3", 2001);
    assert_eq!(house.inside(), [1, 2, 3, 1000, 1002, 1003, 1004, 1005], "five of eight would be new");
}

#[test]
fn time_is_up_after_the_idle_time_and_sooner_in_a_full_house() {
    let mut house = House::new(6, 100);
    for n in 0..3 {
        house.enter("192.0.2.1", n);
    }
    for (n, waiting) in [Waiting::ForRest, Waiting::ToWrite, Waiting::ForQuery].into_iter().enumerate() {
        house.places[n].waits(waiting);
    }
    let expire = |house: &House, ms| {
        assert!(!house.connections.expire(house.at(ms)));
        let stats = house.connections.stats();
        (house.inside(), [stats.idle, stats.slow_read, stats.slow_write])
    };
    assert_eq!(expire(&house, 999), (vec![0, 1, 2], [0, 0, 0]));
    assert_eq!(expire(&house, 1000), (vec![1, 2], [0, 1, 0]));
    house.places[2].touch(house.at(1000));
    assert_eq!(expire(&house, 1999), (vec![2], [0, 1, 1]), "time runs from the last activity");
    (0..3).for_each(|_| house.enter("192.0.2.1", 2000));
    assert_eq!(expire(&house, 2000), (vec![3, 4, 5], [1, 1, 1]));
    house.enter("192.0.2.1", 2001);
    assert_eq!(expire(&house, 2249), (vec![3, 4, 5, 6], [1, 1, 1]));
    assert_eq!(expire(&house, 2251), (vec![4, 5, 6], [2, 1, 1]), "half of the places is not more than half of them");
    assert_eq!(expire(&house, 3001), (vec![], [5, 1, 1]));
}

#[test]
fn who_waits_for_us_is_not_sent_away_while_others_can_be() {
    let mut house = House::new(3, 2);
    for (client, ms) in [("192.0.2.1", 0), ("192.0.2.1", 10), ("192.0.2.2", 20)] {
        house.enter(client, ms);
    }
    house.places[0].waits(Waiting::ForReply);
    house.enter("192.0.2.1", 30);
    assert_eq!(house.inside(), [0, 2, 3], "its own, that does not wait");
    house.places[2].waits(Waiting::ForReply);
    house.enter("192.0.2.3", 40);
    assert_eq!(house.inside(), [0, 2, 4], "of all");
    house.places[4].waits(Waiting::ForReply);
    house.enter("192.0.2.4", 50);
    assert_eq!(house.inside().len(), 3, "somebody goes all the same");
    house.places.iter().take(5).for_each(|place| place.waits(Waiting::ForReply));
    assert!(!house.connections.expire(house.at(5000)));
    assert_eq!(house.inside().len(), 2, "the last one that came does not wait");
    house.places.iter().for_each(|place| place.waits(Waiting::ForQuery));
    assert!(!house.connections.expire(house.at(5249)));
    assert_eq!(house.inside().len(), 2, "time runs from the reply");
    assert!(!house.connections.expire(house.at(6000)));
    assert_eq!(house.inside().len(), 0);
}

#[test]
fn a_thousand_are_told_to_go_in_turns() {
    let mut house = House::new(10_000, 10_000);
    (0..1000).for_each(|_| house.enter("192.0.2.1", 0));
    let turns = (0..10).take_while(|_| house.connections.expire(house.at(1000))).count();
    assert_eq!((turns, house.connections.stats().idle), (3, 1000));
}
