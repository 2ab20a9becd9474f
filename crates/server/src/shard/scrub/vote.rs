//! What most copies hold is right.

/// Returns what more than half of so many members hold; `None` if no digest has that many.
pub(super) fn vote(members: usize, said: &[[u8; 32]]) -> Option<[u8; 32]> {
    let count = |digest: &[u8; 32]| said.iter().filter(|other| *other == digest).count();
    let right = said.iter().find(|digest| count(digest) * 2 > members);
    right.copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_of_all_members_decide() {
        let [a, b, c] = [[1; 32], [2; 32], [3; 32]];
        assert_eq!(vote(3, &[a, a, a]), Some(a));
        assert_eq!(vote(3, &[a, b, b]), Some(b), "whoever asked");
        assert_eq!(vote(3, &[a, a]), Some(a), "one has not answered");
        assert_eq!(vote(3, &[a]), None);
        assert_eq!(vote(3, &[a, b]), None);
        assert_eq!(vote(3, &[a, b, c]), None);
        assert_eq!(vote(2, &[a, b]), None);
        assert_eq!(vote(1, &[a]), Some(a));
        assert_eq!(vote(4, &[a, a, b, b]), None);
        assert_eq!(vote(3, &[]), None);
    }
}
