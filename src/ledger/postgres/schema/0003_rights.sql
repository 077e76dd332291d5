-- Who may do what. `sokketsu_ledger` is the service's: it adds decisions, movements and other facts and can't change, delete or
-- truncate them; what it changes is what they come to. `sokketsu_analyst` reads the views, and no table.

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO sokketsu_ledger, sokketsu_analyst;

GRANT SELECT ON ALL TABLES IN SCHEMA public TO sokketsu_ledger;
GRANT INSERT ON policy, holiday_file, decision, movement, refund, bill, ladder_step, grade TO sokketsu_ledger;
GRANT INSERT, UPDATE ON decision_now, suspense, merchant, account, receipt TO sokketsu_ledger;
GRANT UPDATE ON posted TO sokketsu_ledger;
GRANT INSERT, DELETE ON code, code_void, hold, story_change TO sokketsu_ledger;
GRANT INSERT, UPDATE, DELETE ON story, dossier, past_story TO sokketsu_ledger;

GRANT SELECT ON ledger_position, decisions, entries, books, postings, customers, statements, open_bills, receivable, fees,
  free_money, settlement, cash, customer_account, losses, day TO sokketsu_analyst;
