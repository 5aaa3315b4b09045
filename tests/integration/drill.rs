//! The failover drill of `examples/`, as a test: the story holds, and nothing that must never be answered was.

use std::time::Duration;

#[allow(dead_code)]
#[path = "../../examples/failover_drill.rs"]
mod failover_drill;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_reaches_answers_in_time_and_no_answer_is_empty_or_drained() {
    let mut lines = Vec::new();
    let report = failover_drill::drill(&mut |line| lines.push(line)).await.unwrap_or_else(|e| panic!("{e}\n{}", lines.join("\n")));
    let told = lines.join("\n");
    assert!(report.answers > 100, "{told}");
    assert_eq!((report.empty, report.drained), (0, 0), "{told}");
    // fall × interval + timeout is 800 ms; a drain is in answers when its 2xx arrives. Room is for a busy machine: that it takes no longer is
    // shown on virtual time.
    let most = [2_400, 2_400, 1_000, 1_000, 6_000].map(Duration::from_millis);
    assert_eq!(report.changes.len(), most.len(), "{told}");
    for ((what, took), most) in report.changes.iter().zip(most) {
        assert!(*took < most, "{what} took {took:?}\n{told}");
    }
}
