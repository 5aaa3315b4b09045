//! "did you mean …": near misses of known words.

/// What to say about a word that is not among `known`: the nearest of them if it is near, else all of them.
pub(super) fn instead_of<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "nothing is expected here".into(),
        None => format!("known are {}", known.join(", ")),
    }
}

/// The known word that `word` is most likely a misspelling of.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    let allowed = (word.len() / 3).clamp(1, 3);
    let (distance, near) = known.iter().map(|k| (distance(&word, &k.to_ascii_lowercase()), *k)).min()?;
    (distance <= allowed).then_some(near)
}

/// Optimal string alignment distance: insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    // Nothing longer is near to any key; and the table stays small whatever the file holds.
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_listed() {
        let known = ["listen", "workers", "udp_payload"];
        assert_eq!(nearest("lsiten", &known), Some("listen"));
        assert_eq!(nearest("worker", &known), Some("workers"));
        assert_eq!(nearest("udp-payload", &known), Some("udp_payload"));
        assert_eq!(nearest("color", &known), None);
        assert_eq!(instead_of("color", known), "known are listen, workers, udp_payload");
        assert_eq!(nearest(&"x".repeat(10_000), &known), None);
    }
}
