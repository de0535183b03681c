"""May this release go out? Evidence in, one of three answers out: promote, rollback, undecided."""
