//! Progress bars: on standard error, and only where that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts rows up to `total`, with what is being worked on as its message.
pub(crate) fn rows(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{msg:14!} [{bar:24}] {human_pos:>10} of {human_len} rows, {eta} left";
    let style = ProgressStyle::with_template(template)
        .expect("because the template is well-formed")
        .progress_chars("=> ");
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A line that says what is waited for, with how long that has taken.
pub(crate) fn waiting() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    bar.set_style(style.expect("because the template is well-formed"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_template_is_well_formed() {
        let bar = super::rows(10);
        bar.inc(3);
        assert_eq!(bar.position(), 3);
        bar.finish_and_clear();
        super::waiting().finish_and_clear();
    }
}
