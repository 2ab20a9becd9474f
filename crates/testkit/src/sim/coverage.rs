//! Coverage marks: rare situations that a run over many seeds must reach.

/// The marks of one seed, by their place in the list of those declared.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    declared: Vec<&'static str>,
    reached: Vec<bool>,
}

impl Marks {
    pub(super) fn new(declared: Vec<&'static str>) -> Self {
        let reached = vec![false; declared.len()];
        Self { declared, reached }
    }

    /// Notes that a situation was reached.
    ///
    /// # Panics
    /// If it was not declared: nobody would notice that it is never reached.
    pub(super) fn reach(&mut self, mark: &'static str) {
        // The same text is nearly always at the same address.
        let same = |each: &&str| std::ptr::eq(*each, mark) || *each == mark;
        let place = self.declared.iter().position(same);
        let place = place.unwrap_or_else(|| panic!("the mark {mark:?} is not declared"));
        self.reached[place] = true;
    }

    /// Notes a situation of the simulator itself, which not every scenario asks for.
    pub(super) fn reach_if_declared(&mut self, mark: &'static str) {
        if let Some(place) = self.declared.iter().position(|each| *each == mark) {
            self.reached[place] = true;
        }
    }

    pub(super) fn reached(&self) -> impl Iterator<Item = &'static str> {
        let both = self.declared.iter().zip(&self.reached);
        both.filter(|(_, reached)| **reached).map(|(mark, _)| *mark)
    }
}
