-- Lost phones that were told of are the last of a customer's notes, and the notes are the last of a dossier: an empty list.
UPDATE dossier SET body = CAST(body || x'0000' AS BLOB);
