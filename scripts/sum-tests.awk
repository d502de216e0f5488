# Sums a log of `cargo test`. A binary that ended without a result counts as one failure, and so does a build that failed.
/^ *Running |^ *Doc-tests / { binaries++ }
/^test result: / {
    results++
    for (i = 1; i < NF; i++) {
        if ($(i + 1) ~ /^passed/) passed += $i
        if ($(i + 1) ~ /^failed/) failed += $i
        if ($(i + 1) ~ /^ignored/) ignored += $i
    }
}
/skipped: / { line = substr($0, match($0, /skipped: /)); skips[++skipped] = line }
/deferred: / { deferred++ }
/^test .* \.\.\. FAILED/ { names[++named] = $2 }
END {
    if (binaries > results) failed += binaries - results
    if (rc != 0 && failed == 0) failed = 1
    if (ignored) { skips[++skipped] = "skipped: " ignored " tests marked ignored"; skipped += ignored - 1 }
    # A test that skipped itself is reported as passed by the test runner.
    passed -= skipped - ignored + deferred
    for (i = 1; i <= named; i++) print "failed: " names[i]
    for (i in skips) print skips[i]
    if (deferred) print deferred " long tests wait for `make test-all`"
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit (failed > 0 || (ci != "" && skipped > 0)) ? 1 : 0
}
