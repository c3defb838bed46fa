//! The known word that somebody may have meant.

/// The nearest of these words, if one is near enough: a slip in every third
/// letter, not more.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Whoever types more than any word has letters means none of them.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase().replace('-', "_");
    known
        .map(|candidate| (distance(&lower, candidate), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out, changed, or swapped with their
/// neighbour to make one word of the other.
pub(super) fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let above = &rows[i - 1];
            let changed = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, count) in
            [("", "", 0), ("", "ab", 2), ("listen", "lisen", 1), ("user", "uesr", 1), ("rate", "late", 1)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (count, count), "{a} {b}");
        }
    }

    #[test]
    fn a_word_that_is_far_from_all_has_no_nearest() {
        assert_eq!(nearest("banana", ["listen", "command"].into_iter()), None);
        assert_eq!(nearest("comand", ["listen", "command"].into_iter()), Some("command"));
    }
}
