//! The evacuation of `examples/`, in a few seconds: every client moves once and comes back once, and the report says so.

#[allow(dead_code)]
#[path = "../../examples/region_evacuation.rs"]
mod region_evacuation;

use region_evacuation::{Pace, evacuate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_is_evacuated_and_comes_back_without_an_empty_answer() {
    let mut lines = Vec::new();
    let pace = Pace { ttl: 1, ramp: 3_000, hold: 1_000, lift: 1_000 };
    let evacuation = evacuate(pace, &mut |line| lines.push(line)).await.unwrap_or_else(|e| panic!("{e}\n{}", lines.join("\n")));
    let told = format!("{}\n{}", lines.join("\n"), evacuation.page);
    let report = &evacuation.report;
    assert_eq!((report["state"].as_str(), report["why"].as_str()), (Some("done"), Some("")), "{told}");
    assert!(evacuation.answers > 1_000 && evacuation.empty == 0, "{told}");
    assert_eq!((evacuation.moved, evacuation.changes), (200, (2, 0)), "each away once and back once, and nobody else\n{told}");
    let moves = report["forecast"]["moves"].as_array().unwrap();
    assert!(!moves.is_empty() && moves.iter().all(|m| m["from"] == "region/eu-west" && m["to"] != "nothing"), "{told}");
    let timeline: Vec<&str> = report["timeline"].as_array().unwrap().iter().map(|moment| moment["what"].as_str().unwrap()).collect();
    let moments = ["announced", "first client moved", "25 % moved", "50 % moved", "75 % moved", "all moved", "lift", "restored"];
    assert_eq!(
        timeline.iter().filter(|what| **what != "last old answer").collect::<Vec<_>>(),
        moments.iter().collect::<Vec<_>>(),
        "{told}"
    );
    // Announced for the longest TTL, then the ramp; room is for a busy machine, and for the last step of the ramp.
    let last = report["last_old"]["last"].as_f64().unwrap();
    assert!((3.0..6.0).contains(&last), "{last}\n{told}");
    let lost = report["regions"].as_array().unwrap().iter().find(|line| line["region"] == "eu-west").unwrap();
    assert!(lost["before"].as_f64().unwrap() > 0.3 && lost["holding"].as_f64().unwrap() < 0.01, "{told}");
    assert!(evacuation.page.contains("held region/eu-west: the last one"), "{told}");
}
