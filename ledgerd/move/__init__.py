"""``ledgerd move``: everything the embedded engine holds, carried into the server the configuration names.

A partition goes over in the order of its table's sorting key, chunk by chunk, each of them one block with a token bound
to its rows. So what an interrupted move has left of a partition is its beginning, whole: the next one compares that by
count and hash, goes on behind it, and sends a chunk that was on its way with the token it had. Anything else a server
holds is not from here, and then nothing is moved at all.
"""
