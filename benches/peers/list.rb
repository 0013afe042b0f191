# Makes the list that the bench measures: one address with the practice's key, and one subscriber who gets everything.
#
#   ruby list.rb ADDRESS FOLDER      office.asc and client*.asc are in FOLDER
require "fileutils"
require "schleuder"

address, folder = ARGV
local, domain = address.split("@")
home = File.join(folder, "lists", domain, local)
FileUtils.mkdir_p(home)
# Schleuder makes a key of its own where there is none for the address.
ENV["GNUPGHOME"] = home
files = Dir[File.join(folder, "*.asc")].sort
abort "no key can be imported" unless system("gpg", "--batch", "--quiet", "--import", *files)

list, messages = Schleuder::ListBuilder.new({ email: address }).run
abort "the list can't be made: #{messages}" unless list.is_a?(Schleuder::List) && list.persisted?
reader = list.gpg.keys("client0@bench.example").first
list.subscribe("therapist@bench.example", reader.fingerprint, true, true)
