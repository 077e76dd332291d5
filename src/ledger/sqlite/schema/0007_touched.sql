-- The record that last touched what the customer can spend; zero where that is not known, of records from before this
-- column. A phone that follows a code is told when it rises.
ALTER TABLE account ADD COLUMN touched INTEGER NOT NULL DEFAULT 0;
