//! What alldata-coordinator and its siblings get wrong, and the tests that this crate does not.

/// A fault, and the tests of it.
type Fault = (&'static str, &'static [&'static str]);

const FAULTS: [Fault; 12] = [
    (
        "with more copies for other zones than there are zones, a list takes the place of a peer",
        &["more_copies_than_zones_or_regions_are_distinct_peers_of_them"],
    ),
    (
        "half of the peers in the same zone are passed over",
        &[
            "third_documented_example_same_zone_only",
            "all_peers_of_the_zone_come_before_those_of_others",
        ],
    ),
    (
        "a peer that stands in for one that failed at once is used twice, and ALL has too few copies",
        &["a_peer_that_fails_at_once_is_never_asked_twice_by_one_put"],
    ),
    (
        "an early failure fails the put, although the others reach the level",
        &[
            "the_caller_fails_only_when_the_level_is_out_of_reach",
            "a_level_is_reached_in_spite_of_an_early_failure",
        ],
    ),
    (
        "a failure after the acknowledgement is told to nobody",
        &[
            "missing_copies_are_repaired_when_the_peer_is_back",
            "missing_copies_that_cannot_be_repaired_are_reported",
        ],
    ),
    (
        "ONE and a factor of one succeed without the local store",
        &[
            "one_needs_the_local_store_whatever_the_peers_say",
            "a_factor_of_one_is_the_local_store_at_every_level",
        ],
    ),
    (
        "a peer that answers twice, or is known at two places, is two copies",
        &[
            "an_answer_that_comes_twice_counts_once",
            "an_id_is_at_one_place_and_dropped_from_wherever_it_is",
        ],
    ),
    (
        "dropping a peer of an unknown zone hides the peers of another one",
        &["an_id_is_at_one_place_and_dropped_from_wherever_it_is"],
    ),
    (
        "a misspelt level or a silent peer leaves the caller waiting for ever",
        &[
            "a_misspelt_level_is_refused_by_name",
            "what_is_no_put_is_refused_and_nothing_is_written",
            "silence_everywhere_is_an_error_and_not_for_ever",
        ],
    ),
    (
        "peers named `constructor` or `toString` are ignored",
        &["any_text_is_an_id"],
    ),
    (
        "the store's timer ends the process, events of other days are refused, and a slow store leaves a request without answer",
        &[
            "after_an_error_of_the_disk_nothing_more_is_done",
            "events_of_any_age_are_stored_and_read_by_interval",
            "a_put_of_a_client_is_answered_with_its_key_and_stored_by_the_peers",
        ],
    ),
    (
        "keys of one process are out of order, and those of two nodes may be alike",
        &[
            "keys_of_one_process_ascend",
            "keys_of_many_nodes_and_threads_at_one_moment_differ",
        ],
    ),
];

const SOURCES: [&str; 8] = [
    include_str!("coordinator.rs"),
    include_str!("http.rs"),
    include_str!("sqlite.rs"),
    include_str!("../src/keys.rs"),
    include_str!("../src/level.rs"),
    include_str!("../src/placement/tests.rs"),
    include_str!("../src/put/tests.rs"),
    include_str!("../src/sqlite/database.rs"),
];

#[test]
fn every_fault_has_its_tests() {
    for (fault, tests) in FAULTS {
        for test in tests {
            let declared = format!("fn {test}()");
            let exists = SOURCES.iter().any(|source| source.contains(&declared));
            assert!(exists, "there is no test {test}: {fault}");
        }
    }
}
