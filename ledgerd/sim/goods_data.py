"""The things sold in the stand-in's stashes, as text: the game's names, values of our own."""

# A line that begins with a space goes on from the one above.
# Of a row: name; base; category; subcategory; w h; value in chaos; mods, "/" between. Ranges in brackets are rolled.
UNIQUES = """
Headhunter;Leather Belt;accessories;belt;2 1;9000;+(40-55) to Strength/+(50-60) to maximum Life/
  (20-30)% increased Damage with Hits against Rare monsters/
  When you Kill a Rare monster, you gain its Modifiers for 60 seconds
Mageblood;Heavy Belt;accessories;belt;2 1;26000;+(30-50) to Dexterity/+(15-25)% to Fire Resistance/
  Leftmost 4 Magic Utility Flasks constantly apply their Flask Effects to you
Ashes of the Stars;Onyx Amulet;accessories;amulet;1 1;1200;+1 to Level of all Skill Gems/
  (10-20)% increased Reservation Efficiency of Skills/(15-30)% increased Experience Gain of Gems
Kalandra's Touch;Ring;accessories;ring;1 1;1700;Reflects opposite Ring/Mirrored
Nimis;Topaz Ring;accessories;ring;1 1;3900;Projectiles are fired in random directions/Projectiles Return to you/
  +(30-50) to Dexterity
The Taming;Prismatic Ring;accessories;ring;1 1;95;+(20-30)% to all Elemental Resistances/
  (15-25)% increased Elemental Damage
Berek's Grip;Two-Stone Ring;accessories;ring;1 1;22;+(25-30)% to Cold Resistance/
  1% of Damage Leeched as Life against Shocked Enemies
Ventor's Gamble;Gold Ring;accessories;ring;1 1;35;+(0-60) to maximum Life/
  (-10-10)% increased Quantity of Items found/(-40-40)% increased Rarity of Items found
Astramentis;Onyx Amulet;accessories;amulet;1 1;16;+(80-100) to all Attributes/
  -4 Physical Damage taken from Attack Hits
Carnage Heart;Onyx Amulet;accessories;amulet;1 1;9;+(10-20) to all Attributes/
  (20-50)% increased Damage while Leeching/25% reduced maximum Life
Wurm's Molt;Leather Belt;accessories;belt;2 1;1.4;+(20-30) to Strength/
  Adds (1-5) to (10-15) Physical Damage to Attacks
Perseverance;Vanguard Belt;accessories;belt;2 1;6;+(20-40) to maximum Life/You have Onslaught while you have Fortify
Goldrim;Leather Cap;armour;helmet;2 2;1.1;+(30-50) to Evasion Rating/+(30-40)% to all Elemental Resistances/
  10% increased Rarity of Items found
Crown of the Inward Eye;Prophet Crown;armour;helmet;2 2;48;(333-666) to Armour/
  (15-21)% increased maximum Life, Mana and Global Energy Shield/Transfiguration of Body
The Devouring Diadem;Necromancer Circlet;armour;helmet;2 2;170;(180-220)% increased Energy Shield/
  Trigger Level 15 Feast of Flesh every 5 seconds/Eldritch Battery
Abyssus;Ezomyte Burgonet;armour;helmet;2 2;7;+(20-25) to all Attributes/
  (100-125)% increased Melee Critical Strike Multiplier/(40-50)% increased Physical Damage taken
Hrimnor's Resolve;Samnite Helmet;armour;helmet;2 2;3;(100-120)% increased Armour/+(30-40)% to Cold Resistance/
  Cannot be Frozen if you've been Hit Recently
Tabula Rasa;Simple Robe;armour;chest;2 3;11;Item has no level requirement and Energy Shield (Hidden)
Kaom's Heart;Glorious Plate;armour;chest;2 3;42;Has no Sockets/+(400-500) to maximum Life/
  (20-40)% increased Fire Damage
Shavronne's Wrappings;Occultist's Vestment;armour;chest;2 3;65;(100-150)% increased Energy Shield/
  Chaos Damage does not bypass Energy Shield/Reflects (1-250) Lightning Damage
Cloak of Defiance;Lacquered Garb;armour;chest;2 3;38;(100-150)% increased Evasion and Energy Shield/
  Mind Over Matter/Regenerate 1% of Mana per second
Farrul's Fur;Triumphant Lamellar;armour;chest;2 3;520;(150-250)% increased Armour and Evasion/
  Gain 10 Frenzy Charges when you enter Cat's Stealth/+(70-100) to maximum Life
Belly of the Beast;Full Wyrmscale;armour;chest;2 3;5;(150-200)% increased Armour and Evasion/
  (30-40)% increased maximum Life/Extra gore
Carcass Jack;Varnished Coat;armour;chest;2 3;8;(120-160)% increased Evasion and Energy Shield/
  (40-50)% increased Area of Effect/Extra gore
Lightning Coil;Desert Brigandine;armour;chest;2 3;12;Adds 1 to (20-30) Lightning Damage to Attacks/
  50% of Physical Damage from Hits taken as Lightning Damage
Soul Mantle;Spidersilk Robe;armour;chest;2 3;31;Socketed Gems are Supported by Level 20 Spell Totem/
  +1 to maximum number of Summoned Totems
Shavronne's Pace;Scholar Boots;armour;boots;2 2;1.2;(60-100)% increased Energy Shield/
  (15-20)% increased Movement Speed
Kaom's Roots;Titan Greaves;armour;boots;2 2;9;Has no Sockets/+(150-200) to maximum Life/
  Action Speed cannot be modified to below base value/Unwavering Stance
Atziri's Step;Slink Boots;armour;boots;2 2;6;(150-180)% increased Evasion Rating/+(55-75) to maximum Life/
  30% increased Movement Speed
Ralakesh's Impatience;Riveted Boots;armour;boots;2 2;310;+(15-30)% to Cold Resistance/25% increased Movement Speed/
  Count as having maximum number of Frenzy Charges
Voidwalker;Murder Boots;armour;boots;2 2;24;(60-80)% chance to avoid being Shocked/25% increased Movement Speed/
  Projectiles Pierce all Targets while you have Phasing
Facebreaker;Stealth Gloves;armour;gloves;2 2;2.2;(600-800)% more Physical Damage with Unarmed Attacks/
  (20-30)% reduced Armour
Maligaro's Virtuosity;Deerskin Gloves;armour;gloves;2 2;3;+(20-40) to Dexterity/(5-10)% increased Attack Speed/
  +(20-30)% to Global Critical Strike Multiplier
Asenath's Gentle Touch;Silk Gloves;armour;gloves;2 2;14;+(20-30) to Intelligence/
  Curse Enemies with Temporal Chains on Hit/Your Curse Limit is 1
Aegis Aurora;Champion Kite Shield;armour;shield;2 3;18;(300-400)% increased Armour and Energy Shield/
  Replenishes Energy Shield by 2% of Armour when you Block
Prism Guardian;Archon Kite Shield;armour;shield;2 3;7;(80-120)% increased Armour and Energy Shield/
  Socketed Gems Cost and Reserve Life instead of Mana
The Surrender;Ezomyte Tower Shield;armour;shield;2 4;55;(130-170)% increased Armour/Recover 250 Life when you Block/
  Grants Level 30 Reckoning Skill
Starforge;Infernal Sword;weapons;twosword;2 4;140;(400-500)% increased Physical Damage/
  (5-8)% increased Attack Speed/Deal no Elemental Damage
Voidforge;Infernal Sword;weapons;twosword;2 4;1500;(80-110)% increased Physical Damage/
  (10-15)% increased Attack Speed/Elemental damage based on Physical Damage/Your Elemental Damage can Shock
Oro's Sacrifice;Infernal Sword;weapons;twosword;2 4;4;(10-15)% increased Attack Speed/
  Adds (425-475) to (550-600) Fire Damage/Culling Strike
Disfavour;Ezomyte Axe;weapons;twoaxe;2 4;17;(20-40)% increased Physical Damage/+2 to Level of Socketed Support Gems/
  25% chance to cause Bleeding on Hit
Lioneye's Glare;Imperial Bow;weapons;bow;2 4;5;(180-240)% increased Physical Damage/
  Adds (6-12) to (20-25) Physical Damage/Hits can't be Evaded
Windripper;Imperial Bow;weapons;bow;2 4;75;Adds (32-40) to (48-60) Cold Damage/(10-15)% increased Attack Speed/
  (15-20)% increased Quantity of Items Dropped by Slain Frozen Enemies
Hegemony's Era;Judgement Staff;weapons;staff;2 4;21;(160-200)% increased Physical Damage/
  (35-40)% increased Critical Strike Chance/Strike Skills also target the previous location they were used
Cane of Kulemak;Serpentine Staff;weapons;staff;2 4;110;(60-90)% increased Unveiled Modifier magnitudes/
  +(15-18)% Chance to Block Spell Damage while wielding a Staff
Hyaon's Fury;Legion Sword;weapons;onesword;2 3;6;Adds 1 to (550-650) Lightning Damage/
  (7-10)% increased Attack Speed/20 Life gained on Kill per Frenzy Charge
Paradoxica;Vaal Rapier;weapons;onesword;1 4;28;(12-15)% increased Attack Speed/
  Attacks with this Weapon deal Double Damage/Unveiled
Void Battery;Prophecy Wand;weapons;wand;1 3;15;(80-100)% reduced Spell Damage/(10-20)% increased Cast Speed/
  25% increased Spell Damage per Power Charge
Cold Iron Point;Ezomyte Dagger;weapons;dagger;1 3;1.6;+3 to Level of all Physical Spell Skill Gems/
  Deal no Elemental Damage
Taste of Hate;Sapphire Flask;flasks;;1 2;70;
  (20-30)% of Physical Damage from Hits during Effect taken as Cold Damage/
  (8-10)% of Physical Damage as Extra Cold Damage
Bottled Faith;Sulphur Flask;flasks;;1 2;480;
  Consecrated Ground created during Effect applies (10-15)% increased Damage taken to Enemies/
  (20-40)% increased Duration
Dying Sun;Ruby Flask;flasks;;1 2;45;(15-25)% increased Area of Effect during Effect/
  Skills fire 2 additional Projectiles during Effect
Progenesis;Amethyst Flask;flasks;;1 2;360;
  When Hit during effect, 25% of Life loss from Damage taken occurs over 4 seconds instead/
  (20-30)% increased Duration
Lion's Roar;Granite Flask;flasks;;1 2;2;+(30-50)% more Melee Physical Damage during effect/
  Knocks Back Enemies in an Area when you use a Flask
Rumi's Concoction;Granite Flask;flasks;;1 2;3;+(14-20)% Chance to Block Attack Damage during Effect/
  (10-14)% Chance to Block Spell Damage during Effect
Thread of Hope;Crimson Jewel;jewels;;1 1;60;Only affects Passives in Large Ring/
  -(10-20)% to all Elemental Resistances/Passives in Radius can be Allocated without being connected
Unnatural Instinct;Viridian Jewel;jewels;;1 1;700;Allocated Small Passive Skills in Radius grant nothing/
  Grants all bonuses of Unallocated Small Passive Skills in Radius
The Red Nightmare;Crimson Jewel;jewels;;1 1;13;Gain 5% increased Damage per Fire Resistance Passive in Radius/
  Passive Skills in Radius also grant Chance to Block
Inspired Learning;Crimson Jewel;jewels;;1 1;8;
  With 4 Notables Allocated in Radius, When you Kill a Rare monster, you gain 1 of its Modifiers for 20 seconds
Vaults of Atziri;Vaal Pyramid Map;maps;;1 1;4;Chests have (1300-2000)% increased Item Rarity/
  Area contains no monsters
Cortex;Synthesised Map;maps;;1 1;55;Monsters have (20-30)% increased Action Speed/
  Area contains Synthesised Magic Monsters
"""
LINKED = ("chest", "twosword", "twoaxe", "bow", "staff")
REPLICAS = ("Farrul's Fur", "Windripper", "Lion's Roar", "Abyssus", "Soul Mantle")
FOULBORN = """
Headhunter;Kaom's Heart;Shavronne's Wrappings;Belly of the Beast;Carcass Jack;Lightning Coil;Abyssus;Goldrim;Windripper;
Lioneye's Glare;Astramentis;Facebreaker;Atziri's Step
"""
FOILED = ("Headhunter", "Mageblood", "Bottled Faith", "Goldrim", "Starforge")
# name; base; category; subcategory; w h; then variant=value=mods, "/" between mods, ";" between variants
VARIANTS = """
Atziri's Splendour;Sacrificial Garb;armour;chest;2 3;armour=25=(380-420)% increased Armour/
  +(90-100) to maximum Life;evasion=18=(380-420)% increased Evasion Rating/+(90-100) to maximum Life;
  energy shield=70=(270-300)% increased Energy Shield/+(90-100) to maximum Mana
Vinktar Square;Paua Amulet;accessories;amulet;1 1;
  added attacks=14=Adds (5-15) to (90-100) Lightning Damage to Attacks;
  added spells=22=Adds (5-15) to (90-100) Lightning Damage to Spells;
  penetration=60=Damage Penetrates (15-20)% Lightning Resistance
Doryani's Invitation;Heavy Belt;accessories;belt;2 1;fire=6=0.2% of Fire Damage Leeched as Life during Flask Effect;
  lightning=9=0.2% of Lightning Damage Leeched as Life during Flask Effect;
  physical=30=0.2% of Physical Damage Leeched as Life during Flask Effect
Yriel's Fostering;Exquisite Leather;armour;chest;2 3;bleeding=5=Grants Level 20 Summon Bestial Rhoa Skill/
  Attacks with Bestial Minions inflict Bleeding;poison=4=Grants Level 20 Summon Bestial Snake Skill/
  Poison you inflict deals Damage faster;maim=7=Grants Level 20 Summon Bestial Ursa Skill
Volkuur's Guidance;Zealot Gloves;armour;gloves;2 2;fire=2=Adds (18-22) to (30-40) Fire Damage to Spells and Attacks/
  Your Fire Damage can Poison;cold=3=Adds (18-22) to (30-40) Cold Damage to Spells and Attacks/
  Your Cold Damage can Poison;lightning=8=Adds (1-4) to (60-70) Lightning Damage to Spells and Attacks/
  Your Lightning Damage can Poison
Impresence;Onyx Amulet;accessories;amulet;1 1;chaos=35=Adds (10-15) to (25-30) Chaos Damage/
  Despair has no Reservation if Cast as an Aura;cold=20=Adds (20-25) to (40-50) Cold Damage/
  Frostbite has no Reservation if Cast as an Aura;physical=16=Adds (6-10) to (15-20) Physical Damage/
  Vulnerability has no Reservation if Cast as an Aura
Tombfist;Steelscale Gauntlets;armour;gloves;2 2;1 abyssal=3=Has 1 Abyssal Socket/Intimidate Enemies on Hit;
  2 abyssal=85=Has 2 Abyssal Sockets/Intimidate Enemies on Hit
Lightpoacher;Great Crown;armour;helmet;2 2;1 abyssal=1.3=Has 1 Abyssal Socket/Trigger Level 20 Spirit Burst;
  2 abyssal=18=Has 2 Abyssal Sockets/Trigger Level 20 Spirit Burst
Bubonic Trail;Murder Boots;armour;boots;2 2;1 abyssal=1.5=Has 1 Abyssal Socket/
  Triggers Level 20 Death Walk when Equipped;2 abyssal=40=Has 2 Abyssal Sockets/
  Triggers Level 20 Death Walk when Equipped
"""
WATCHERS_EYE = """
Clarity: (10-15)% of Damage taken from Mana before Life;Discipline: (20-30) Energy Shield gained per Enemy Hit;
Grace: (12-15)% chance to Evade Spell Hits;Hatred: +(1.2-1.8)% to Critical Strike Chance;
Wrath: Damage Penetrates (10-15)% Lightning Resistance;Precision: +(20-30)% to Critical Strike Multiplier;
Malevolence: Damaging Ailments deal damage (10-15)% faster;Haste: (10-15)% chance to gain Phasing
"""
TIMELESS = """
Lethal Pride:Kaom,Rakiata,Akoya:commanded leadership over,warriors;
Brutal Restraint:Asenath,Nasima,Balbala:denoted service of,dekhara;
Elegant Hubris:Cadiro,Victario,Caspiro:commissioned,coins to commemorate;
Glorious Vanity:Doryani,Xibaqua,Ahuana:bathed in the blood of,sacrificed;
Militant Faith:Avarius,Dominus,Maxarius:carved to glorify,new faithful
"""
FORBIDDEN = """
Avatar of Fire;Aspect of Stone;Conviction of Power;Fury of Nature;Nine Lives;Unleashed Potential;
Indomitable Resolve;Profane Bloom;Ricochet;Unstable Calling;Bastion of Hope;Arcane Blessing
"""
GEMS = """
Arc;Spark;Cyclone;Ice Nova;Fireball;Determination;Grace;Hatred;Wrath;Precision;Clarity;Vaal Grace;Vaal Haste;
Vaal Cyclone;Vaal Reave;Vaal Spark;Righteous Fire;Boneshatter;Detonate Dead;Summon Raging Spirit;Molten Shell;
Steelskin;Frostblink;Flame Dash;Ball Lightning of Orbiting;Penance Brand of Dissipation;Boneshatter of Carnage;
Explosive Trap of Magnitude;Cyclone of Tumult;Kinetic Blast of Clustering;Lightning Strike of Arcing
"""
SUPPORTS = """
Empower Support;Enlighten Support;Enhance Support;Awakened Multistrike Support;Awakened Spell Echo Support;
Awakened Added Fire Damage Support;Greater Multiple Projectiles Support;Faster Casting Support;Inspiration Support;
Brutality Support;Multistrike Support;Spell Echo Support
"""
MAPS = """
Plaza Map;Carcass Map;Basilica Map;City Square Map;Dunes Map;Jungle Valley Map;Strand Map;Cemetery Map;Mesa Map;
Crimson Temple Map;Tower Map;Promenade Map;Burial Chambers Map;Defiled Cathedral Map;Toxic Sewer Map
"""
CARDS = """
The Doctor=1100=8;The Fiend=1900=11;House of Mirrors=2600=9;The Nurse=130=8;The Patient=17=8;Brother's Gift=60=1;
The Enlightened=75=6;The Wretched=11=6;Seven Years Bad Luck=210=13;The Saint's Treasure=24=10;
Three Faces in the Dark=4=7;Abandoned Wealth=33=5;The Valkyrie=5=8;Ambitious Obsession=18=4;The Gambler=0.8=5;
Rain of Chaos=0.4=8;The Hoarder=2=12;Lucky Connections=1.5=7;The Cartographer=0.6=1;Emperor's Luck=0.9=5;
The Scarred Meadow=0.5=9;The Catalyst=0.7=3;Her Mask=0.5=4;The Survivalist=0.3=7;The Lover=0.2=2;
Chaotic Disposition=3=1;The Sephirot=14=11;Unrequited Love=650=16;The Apothecary=3200=5;Succor of the Sinless=85=6
"""
CURRENCY = """
Orb of Annulment=9=20;Vaal Orb=1.1=20;Regal Orb=0.4=20;Orb of Alchemy=0.2=20;Orb of Fusing=0.3=20;
Jeweller's Orb=0.1=20;Chromatic Orb=0.1=20;Orb of Scouring=0.4=30;Orb of Regret=0.7=40;Gemcutter's Prism=0.9=20;
Blessed Orb=0.5=20;Ancient Orb=6=20;Sacred Orb=14=20;Stacked Deck=2.6=50000;Mirror Shard=1400=20;Astragali=0.9=1000;
Tainted Divine Teardrop=38=10;Awakener's Orb=110=10;Orb of Dominance=85=10;Veiled Chaos Orb=24=10
"""
FRAGMENTS = """
Fragment of Knowledge=8;Fragment of Shape=7;Sacrifice at Midnight=0.6;Mortal Hope=14;Simulacrum=18;
The Maven's Writ=45;Divine Vessel=2.4;Lonely Antlion=3.2;Gilded Timeworn Reliquary Key=6;Screaming Invitation=9;
Rusted Divination Scarab=0.5;Ambush Scarab of Containment=4;Breach Scarab of Splintering=1.3;
Legion Scarab of Officers=0.9;Divination Scarab of The Cloister=28;Harvest Scarab of Doubling=11;
Horned Scarab of Bloodlines=52;Horned Scarab of Preservation=75
"""
ESSENCES = """
Deafening Essence of Greed=2.2;Deafening Essence of Contempt=2.8;Deafening Essence of Zeal=6;
Deafening Essence of Woe=2;Essence of Horror=5;Essence of Delirium=3;Essence of Insanity=2.6;
Shrieking Essence of Anger=0.6;Shrieking Essence of Hatred=0.5;Screaming Essence of Rage=0.3
"""
BEASTS = """
Craicic Chimeral=85;Fenumal Plagued Arachnid=24;Farric Lynx Alpha=17;Vivid Vulture=60;Vivid Watcher=190;
Wild Hellion Alpha=5;Wild Bristle Matron=28;Black Mórrigan=110;Primal Cystcaller=9;Farric Frost Hellion Alpha=3
"""
BASES = """
Vaal Regalia=armour=chest=2 3;Sadist Garb=armour=chest=2 3;Astral Plate=armour=chest=2 3;
Titanium Spirit Shield=armour=shield=2 2;Hubris Circlet=armour=helmet=2 2;Lion Pelt=armour=helmet=2 2;
Two-Toned Boots=armour=boots=2 2;Fingerless Silk Gloves=armour=gloves=2 2;Spiked Gloves=armour=gloves=2 2;
Opal Ring=accessories=ring=1 1;Steel Ring=accessories=ring=1 1;Amethyst Ring=accessories=ring=1 1;
Onyx Amulet=accessories=amulet=1 1;Marble Amulet=accessories=amulet=1 1;Stygian Vise=accessories=belt=2 1;
Crystal Belt=accessories=belt=2 1;Spine Bow=weapons=bow=2 4;Convoking Wand=weapons=wand=1 3;
Imbued Wand=weapons=wand=1 3;Jewelled Foil=weapons=onesword=1 4;Vaal Axe=weapons=twoaxe=2 4;
Sambar Sceptre=weapons=sceptre=2 3;Bone Helmet=armour=helmet=2 2;Ezomyte Tower Shield=armour=shield=2 4
"""
INFLUENCES = ("shaper", "elder", "crusader", "hunter", "redeemer", "warlord")
CLUSTERS = """
12% increased Attack Damage while holding a Shield=Large;12% increased Fire Damage=Large;
12% increased Cold Damage=Large;12% increased Lightning Damage=Large;Minions deal 10% increased Damage=Large;
12% increased Spell Damage=Large;15% increased Armour=Medium;
6% increased Mana Reservation Efficiency of Skills=Medium;Flasks applied to you have 4% increased Effect=Medium;
2% increased Effect of your Curses=Medium;10% increased Life Recovery from Flasks=Small;
+15% to Fire Resistance=Small;+12% to Chaos Resistance=Small;4% increased maximum Life=Small
"""
MODS = """
+(60-109) to maximum Life;+(20-46)% to Fire Resistance;+(20-46)% to Cold Resistance;
+(20-46)% to Lightning Resistance;+(10-35)% to Chaos Resistance;+(30-55) to Strength;+(30-55) to Dexterity;
+(30-55) to Intelligence;+(30-68) to maximum Mana;(50-110)% increased Armour;(50-110)% increased Evasion Rating;
(60-132)% increased Energy Shield;+(30-90) to maximum Energy Shield;+(100-561) to Accuracy Rating;
(18-28)% increased Attack Speed;(20-38)% increased Critical Strike Chance;
+(20-38)% to Global Critical Strike Multiplier;(20-35)% increased Movement Speed;Regenerate (8-33) Life per second;
(15-30)% increased Stun and Block Recovery;Adds (1-12) to (15-24) Physical Damage to Attacks;
Adds (10-24) to (35-120) Fire Damage;Adds (2-10) to (90-210) Lightning Damage;(60-120)% increased Physical Damage;
(20-68)% increased Elemental Damage with Attack Skills;+1 to Level of all Lightning Skill Gems;
+1 to Level of Socketed Bow Gems;+(8-14)% chance to Suppress Spell Damage;Gain (20-68) Life per Enemy Killed;
(12-20)% increased Rarity of Items found
"""
MAP_MODS = """
Players are Cursed with Temporal Chains;Monsters have (300-400)% increased Critical Strike Chance;
(20-29)% increased Monster Movement Speed;Players have (20-40)% less Armour;Monsters gain a Power Charge on Hit;
Unique Boss has (25-35)% increased Life;Monsters reflect 18% of Elemental Damage;Area contains many Totems;
Players cannot Regenerate Life, Mana or Energy Shield
"""
RARE_NAMES = """
Corpse Bramble Forbidden Blood Plague Sorrow Gale Storm Doom Rune Kraken Honour Dread Vortex Loath Oblivion;
Horn Gnash Keep Apex Vessel Turn Loop Shell Grip March Bite Song Spiral Edge Roar Veil
"""
